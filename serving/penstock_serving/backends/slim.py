"""The slim backend: look-ups in Python and one LiteRT graph, proven by the trainer to answer as the SavedModel does."""

from penstock_serving.backends import Answers, Categories, Columns, RowRefusedError
from penstock_serving.logs import library_lines
from penstock_serving.seal import SealedModel
from penstock_trainer.errors import InputError
from penstock_trainer.slim import FOLDER, SlimModel


class SlimBackend:
    """Answers rows without TensorFlow, which need not be installed."""

    name = "slim"
    quick_rows = 256

    def load(self, model: SealedModel) -> None:
        """Read the look-ups and the graph."""
        try:
            with library_lines():
                self._model = SlimModel(model.directory / FOLDER, model.schema.names)
        except (OSError, ValueError, RuntimeError, KeyError) as exc:
            raise InputError(f"{model.directory / FOLDER} does not load: {exc}") from exc

    def predict(self, columns: Columns) -> Answers:
        """The graph's answers, one a row."""
        codes, unknown = self._model.codes(columns)
        columns.categories = Categories(self._model.words, codes, unknown)
        try:
            moments = columns.moments(self._model.timestamps) if self._model.timestamps else None
            return self._model.predict(columns, columns.numbers(self._model.numbers), codes, moments)
        except RuntimeError as exc:
            raise RowRefusedError(str(exc).splitlines()[0]) from exc
