"""What computes the predictions: the contract that every backend keeps."""

from collections.abc import Sequence
from typing import Any, Protocol

from penstock_serving.seal import SealedModel

Values = Sequence[Any]
"""One column's values, a row each: float or None (number, integer), str or None (category)."""


class RowRefusedError(Exception):
    """The model itself refuses one of the rows; the message says why."""


class Backend(Protocol):
    """Loads one sealed model and answers rows. Both methods block: they run beside the event loop, never in it."""

    def load(self, model: SealedModel) -> None:
        """Make ready to predict.

        Raises:
            InputError: the model's signature does not match its schema.
        """
        ...

    def predict(self, columns: Sequence[Values]) -> list[float]:
        """One prediction a row, from one sequence of values for each of the schema's columns, in its order.

        Raises:
            RowRefusedError: the model refuses a row.
        """
        ...
