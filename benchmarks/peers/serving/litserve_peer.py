"""LitServe with batching, one worker."""

import os
from typing import Any

import litserve


class Flights(litserve.LitAPI):
    """Answers a batch that LitServe has put together."""

    def setup(self, device: str) -> None:  # noqa: ARG002 (litserve's name)
        from saved_model import SavedModel

        self.model: Any = SavedModel()

    def decode_request(self, request: dict[str, Any]) -> dict[str, Any]:
        return request["instances"][0]

    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def predict(self, x: list[dict[str, Any]]) -> list[float]:
        return self.model.predict(x)

    def unbatch(self, output: list[float]) -> list[float]:
        return output

    def encode_response(self, output: float) -> dict[str, Any]:
        return {"predictions": [output]}


if __name__ == "__main__":
    api = Flights(max_batch_size=32, batch_timeout=0.002)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(os.environ["PORT"]), generate_client_file=False, log_level="error")
