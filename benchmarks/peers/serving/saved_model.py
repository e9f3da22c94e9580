"""The SavedModel as every peer runs it: its signature behind two stacked tensors, as Penstock's backend calls it."""

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


class SavedModel:
    """Answers rows; what it was called for is counted in the file that BATCHES names: calls and rows, int64 each."""

    def __init__(self) -> None:
        folder = Path(os.environ["MODEL"])
        columns = json.loads((folder / "schema.json").read_text())["columns"]
        self.numbers = [column["name"] for column in columns if column["type"] != "category"]
        self.strings = [column["name"] for column in columns if column["type"] == "category"]
        self.loaded: Any = tf.saved_model.load(str(folder / "saved_model"))
        signature = self.loaded.signatures["serving_default"]

        def stacked(numbers: Any, strings: Any) -> Any:
            named = dict(zip(self.numbers, tf.unstack(numbers, len(self.numbers)), strict=True))
            named |= dict(zip(self.strings, tf.unstack(strings, len(self.strings)), strict=True))
            return signature(**named)["predictions"]

        specs = tf.TensorSpec([len(self.numbers), None]), tf.TensorSpec([len(self.strings), None], tf.string)
        self.call = tf.function(stacked, input_signature=specs, autograph=False).get_concrete_function()
        self.counts = os.open(os.environ["BATCHES"], os.O_RDWR | os.O_CREAT)
        self.calls = self.rows = 0

    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        """One answer a row, from raw values by column; missing is absent or None."""
        numbers = [[row.get(name) for row in rows] for name in self.numbers]
        strings = [[row.get(name) or "" for row in rows] for name in self.strings]
        return self.answer(np.array(numbers, np.float32), np.array(strings, object))

    def answer(self, numbers: np.ndarray, strings: np.ndarray) -> list[float]:
        """The same from float32 [numbers, rows] and text [strings, rows]."""
        self.calls += 1
        self.rows += numbers.shape[1]
        os.pwrite(self.counts, struct.pack("<qq", self.calls, self.rows), 0)
        return self.call(tf.constant(numbers), tf.constant(strings, tf.string)).numpy().tolist()
