"""How far a training is, and what it has counted: kept with every checkpoint, sealed with the model."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Epoch:
    """What one epoch did: its number from 1, the examples it trained on, their mean loss, its seconds and steps since
    this process's start, those steps `by` member, and `validation` metrics.
    """

    number: int
    examples: int
    steps: int
    by: dict[str, int]
    loss: float
    seconds: float
    validation: dict[str, float]


@dataclass
class Progress:
    """Epochs done, blocks done of the next one, and the accounting of examples, all since the first step.

    `begun`: examples of all blocks that were begun, so that what exceeds the `due` ones was trained on a second time at
    least in part, because its worker was lost: at least once is promised, and at most how often more is counted.
    `trained`: examples of the blocks that were finished. `discarded`: examples trained on after a checkpoint that was
    then gone back to; the model has forgotten them, and learned from them again. `steps`: steps by member, as far as
    their outcome is in the model.
    """

    epoch: int = 0
    blocks: int = 0
    begun: int = 0
    trained: int = 0
    loss: float = 0.0  # the sum over the examples of the epoch under way
    epoch_trained: int = 0
    resumes: int = 0
    discarded: int = 0
    steps: Counter[str] = field(default_factory=Counter)

    COUNTS = ("epoch", "blocks", "begun", "trained", "epoch_trained", "resumes", "discarded")

    def counts(self) -> dict[str, int]:
        """All but the loss and the steps."""
        return {name: getattr(self, name) for name in self.COUNTS}

    def metrics(self) -> dict[str, Any]:
        """The loss and the steps."""
        return {"loss": self.loss, "steps": dict(self.steps)}

    @classmethod
    def of(cls, counts: Mapping[str, int], metrics: Mapping[str, Any]) -> "Progress":
        """As `counts` and `metrics` said it."""
        return cls(**{name: counts[name] for name in cls.COUNTS}, loss=metrics["loss"], steps=Counter(metrics["steps"]))

    def account(self, due: int) -> dict[str, int]:
        """The counts for the model's seal, when `due` examples were to be trained on."""
        return {
            "examples_due": due,
            "examples_seen": self.trained,
            "examples_repeated_at_most": max(0, self.begun - due),
            "examples_discarded": self.discarded,
            "resumes": self.resumes,
        }

    def sentence(self, due: int) -> str:
        """The accounting in words."""
        account = self.account(due)
        words = f"{account['examples_seen']:,} examples seen of {due:,} due, each at least once"
        if account["examples_repeated_at_most"]:
            words += f", at most {account['examples_repeated_at_most']:,} of them once more after a worker was lost"
        if self.resumes:
            words += (
                f"; resumed {self.resumes} times from a checkpoint, {self.discarded:,} examples known to be trained on "
                "after it were discarded and trained on again"
            )
        by = ", ".join(f"{name} {steps:,}" for name, steps in sorted(self.steps.items()))
        return f"{words}; steps: {by}"
