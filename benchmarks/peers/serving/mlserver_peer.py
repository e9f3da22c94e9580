"""MLServer with adaptive batching: a row is one tensor of numbers and one of texts, the cheapest in its protocol."""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from mlserver import MLModel
from mlserver.cli.main import main
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput
from saved_model import SavedModel


class Flights(MLModel):
    """Answers a batch that MLServer has put together."""

    async def load(self) -> bool:
        self.model: Any = SavedModel()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = payload.inputs[0].shape[0]
        numbers = np.array(list(payload.inputs[0].data), np.float32).reshape(rows, -1)
        texts = [text.decode() if isinstance(text, bytes) else text for text in payload.inputs[1].data]
        answers = self.model.answer(numbers.T, np.array(texts, object).reshape(rows, -1).T)
        output = ResponseOutput(name="predictions", shape=[rows, 1], datatype="FP32", data=answers)
        return InferenceResponse(model_name=self.name, outputs=[output])


if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp())
    port = int(os.environ["PORT"])
    settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": port + 1000, "metrics_port": port + 2000}
    settings |= {"parallel_workers": 0, "debug": False}
    (folder / "settings.json").write_text(json.dumps(settings))
    model = {"name": "flights", "implementation": "mlserver_peer.Flights"}
    model |= {"max_batch_size": 32, "max_batch_time": 0.002}
    (folder / "model-settings.json").write_text(json.dumps(model))
    sys.argv = ["mlserver", "start", str(folder)]
    main()
