"""What computes the predictions: the contract that every backend keeps."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from penstock_serving.seal import SealedModel
from penstock_trainer.moments import cells

Values = Sequence[Any]
"""One column's values, a row each: float (number, integer), str (category, text), bytes (image), int (timestamp, in
seconds since 1970), or None."""


class Categories(NamedTuple):
    """Category columns as a backend has looked them up: what it has done need not be done again."""

    words: Mapping[int, Sequence[str]]
    """The known categories in the order of their codes, by the column's place."""
    codes: NDArray[np.int32]
    """Of shape [columns of `words`, rows]: below 0 is missing or unknown."""
    unknown: Mapping[int, Sequence[str]]
    """The texts that have no code, by the column's place."""


class Columns(list[Values]):
    """Rows on their way through a model: the values of each of the schema's columns, in its order."""

    categories: Categories | None = None
    """All category columns, where the backend looks them up."""
    _numbers: NDArray[np.float32] | None = None
    _places: Sequence[int] = ()
    _moments: NDArray[np.int32] | None = None

    def numbers(self, places: Sequence[int]) -> NDArray[np.float32]:
        """The columns at `places`, float32 of shape [places, rows], None as NaN; not to be changed.

        Made once: backend and observer ask for the same, and making it costs a good part of what observing does.
        """
        if self._numbers is None or self._places != places:
            rows = len(self[0]) if self else 0
            self._numbers = np.array([self[place] for place in places], np.float32).reshape(len(places), rows)
            self._places = places
        return self._numbers

    def moments(self, places: Sequence[int]) -> NDArray[np.int32]:
        """All timestamps, which are at `places`, as `moments.cells` makes them: of shape [2 * places, rows]."""
        if self._moments is None:
            self._moments = np.concatenate([cells(self[place]) for place in places])
        return self._moments


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

    def predict(self, columns: Columns) -> Answers:
        """One prediction a row.

        Raises:
            RowRefusedError: the model refuses a row.
        """
        ...
