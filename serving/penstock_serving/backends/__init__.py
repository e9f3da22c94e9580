"""What computes the predictions: the contract that every backend keeps."""

from collections.abc import Sequence
from typing import Any, Protocol

from penstock_serving.seal import SealedModel

Values = Sequence[Any]
"""One column's values, a row each: float (number, integer), str (category, text), bytes (image), or None."""


Answers = list[Any]
"""One answer a row."""


class RowRefusedError(Exception):
    """The model itself refuses one of the rows; the message says why."""


class Backend(Protocol):
    """Loads one sealed model and answers rows. Both methods block: they run beside the event loop, never in it,
    but for `predict` with at most `quick_rows` rows, and not both at a time.
    """

    name: str
    """What `/attestation` calls it."""
    quick_rows: int
    """Up to so many rows `predict` takes less time than handing them to another thread would cost."""

    def load(self, model: SealedModel) -> None:
        """Make ready to predict.

        Raises:
            InputError: the model's signature does not match its schema.
        """
        ...

    def predict(self, columns: Sequence[Values]) -> Answers:
        """One prediction a row, from one sequence of values for each of the schema's columns, in its order.

        Raises:
            RowRefusedError: the model refuses a row.
        """
        ...
