"""Variables of which every worker has a copy, and the parameter servers the common state.

A step that read every small variable from the servers, and had them apply every gradient, would send dozens of messages
of a few kilobytes. So a worker takes all of them at once, takes some steps with its copies, as one process would, and
gives back at once what they changed:

- what is learned and what is counted: the difference is added, so that all workers' steps are in the sum;
- the optimizer's slots and other averages: as the worker has them now. The last worker's are as good as any other's,
  where a sum would have the decay of one old value in it as often as there are workers.

On the servers they lie side by side, one variable for each kind, in shards where it is large.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import tensorflow as tf
from tensorflow.python.ops.resource_variable_ops import ResourceVariable  # pyright: ignore[reportMissingImports]

Kind: TypeAlias = tuple[Any, bool]
"""Of variables: their DType, and whether changes are added."""
FORWARDED = ("initial_value", "trainable", "name", "dtype", "shape", "constraint", "synchronization", "aggregation")


class Copy(ResourceVariable):
    """A variable of this process; in a function, where it is `borrowed`, of the worker that runs it."""

    copies: "Copies | None" = None
    place = 0

    @property
    def handle(self) -> Any:
        """Where its value is."""
        if self.copies is None or self.copies.handles is None:
            return super().handle
        return self.copies.handles[self.place]

    @property
    def device(self) -> str:
        """Where it is; a function that some worker runs knows no more than that it is there."""
        return super().device or "/device:CPU:0"

    @property
    def kind(self) -> Kind:
        """Which variables it lies beside on the servers."""
        return self.dtype, self.trainable or self.dtype.is_integer


class Copies:
    """The variables of at most `largest` bytes that are made within `made`."""

    def __init__(self, strategy: tf.distribute.Strategy, largest: int):
        self.strategy, self.largest = strategy, largest
        self.variables: list[Copy] = []
        self.handles: list[tf.Tensor] | None = None  # a worker's, while a function for it is made
        self._common: dict[Kind, Any] = {}
        self._name = uuid.uuid4().hex

    @contextmanager
    def made(self) -> Iterator[None]:
        """Variables made here are copies where they are small; the others are where the strategy has them."""
        with self.strategy.scope():
            with tf.variable_creator_scope(self._make):
                yield
            for kind in dict.fromkeys(variable.kind for variable in self.variables):
                self._common[kind] = tf.Variable(self._flat(kind), trainable=False)

    def _make(self, next_creator: Any, **given: Any) -> Any:
        beside: Any = given.get("colocate_with")
        initial = given["initial_value"]
        if not callable(initial):  # a plain number, as Keras gives its optimizers' rates, has neither dtype nor shape
            initial = given["initial_value"] = tf.convert_to_tensor(initial, given.get("dtype"))
        shape = beside.shape if beside is not None else given.get("shape")
        if shape is None:
            shape = getattr(initial, "shape", None)
        given_dtype = given.get("dtype") or getattr(initial, "dtype", None)
        dtype: Any = tf.as_dtype(given_dtype) if given_dtype else None
        size = dtype.size if dtype is not None and (dtype.is_floating or dtype.is_integer) else None
        numbers = None if shape is None else tf.TensorShape(shape).num_elements()
        small = size is not None and numbers is not None and numbers * size <= self.largest
        if not small or not (beside is None or isinstance(beside, Copy)):
            return next_creator(**given)
        kept = {name: given[name] for name in FORWARDED if name in given}
        variable = Copy(**kept, distribute_strategy=self.strategy)
        variable.copies, variable.place = self, len(self.variables)
        self.variables.append(variable)
        return variable

    @contextmanager
    def borrowed(self, *, changed: bool) -> Iterator[None]:
        """The part of a function for workers that uses the variables: they are the copies of whichever worker runs it,
        taken from the servers before and, where they are `changed`, given back after.
        """
        self.handles = [
            tf.raw_ops.VarHandleOp(dtype=one.dtype, shape=one.shape, shared_name=f"{self._name}-{one.place}")
            for one in self.variables
        ]
        try:
            taken = self.take()
            yield
            if changed:
                self._give(taken)
        finally:
            self.handles = None

    def take(self) -> dict[Kind, tf.Tensor]:
        """Give the copies the servers' values; returns these, flat."""
        taken = {kind: tf.convert_to_tensor(common) for kind, common in self._common.items()}
        for kind, flat in taken.items():
            members = self._members(kind)
            sizes: Any = [one.shape.num_elements() for one in members]
            parts = tf.split(flat, sizes)
            for one, part in zip(members, parts, strict=True):
                one.assign(tf.reshape(part, one.shape))
        return taken

    def _give(self, taken: dict[Kind, tf.Tensor]) -> None:
        for kind, common in self._common.items():
            if kind[1]:
                common.assign_add(self._flat(kind) - taken[kind])
            else:
                common.assign(self._flat(kind))

    def put(self) -> None:
        """Give the servers the copies' values."""
        for kind, common in self._common.items():
            common.assign(self._flat(kind))

    def _members(self, kind: Kind) -> list[Copy]:
        return [one for one in self.variables if one.kind == kind]

    def _flat(self, kind: Kind) -> tf.Tensor:
        values: list[Any] = [one.read_value() for one in self._members(kind)]
        return tf.concat([tf.reshape(value, [-1]) for value in values], 0)
