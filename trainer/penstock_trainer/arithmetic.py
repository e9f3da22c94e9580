"""How a training computes: in which precision, and whether XLA compiles its steps."""

from dataclasses import dataclass

from penstock_trainer.errors import InputError

PRECISIONS = ("float32", "mixed_bfloat16")


@dataclass(frozen=True)
class Arithmetic:
    """`mixed_bfloat16`: layers compute in bfloat16, while variables, logits and loss are float32, and so is the model
    that is evaluated last, exported and served. `xla`: XLA compiles forward and backward pass of a whole batch.
    """

    precision: str = "float32"
    xla: bool = False

    @property
    def mixed(self) -> bool:
        """Whether layers compute in less than float32."""
        return self.precision != "float32"

    def check(self, strategy: str) -> None:
        """Raise InputError, with the reason, where a strategy cannot compute so."""
        if self.precision not in PRECISIONS:
            raise InputError(f"precision is {self.precision!r}; use one of {', '.join(PRECISIONS)}")
        if strategy == "parameter-server" and self.mixed:
            raise InputError(
                f"precision {self.precision!r} does not go with strategy 'parameter-server': Keras cannot read a "
                "variable that is in shards in another precision; use float32, or a strategy without parameter servers"
            )
        if strategy == "parameter-server" and self.xla:
            raise InputError(
                "XLA does not go with strategy 'parameter-server': a worker's step reads and changes tables on other "
                "machines, which XLA cannot compile; leave it out, or use a strategy without parameter servers"
            )


FLOAT32 = Arithmetic()
