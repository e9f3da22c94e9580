"""BentoML with adaptive batching (`batchable`), one worker."""

import os
import sys
from pathlib import Path
from typing import Any

import bentoml


@bentoml.service(workers=1, traffic={"timeout": 60})
class Flights:
    """Answers a batch that BentoML has put together."""

    def __init__(self) -> None:
        from saved_model import SavedModel

        self.model: Any = SavedModel()

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=1000)
    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        """One answer a row."""
        return self.model.predict(rows)


if __name__ == "__main__":
    arguments = ["serve", "bentoml_peer:Flights", "--host", "127.0.0.1", "--port", os.environ["PORT"]]
    os.chdir(Path(__file__).parent)
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", *arguments])
