"""KServe's Python server, which has no batching of its own: that is its agent's, a container beside it."""

import os
from typing import Any

from kserve import Model, ModelServer
from saved_model import SavedModel


class Flights(Model):
    """Answers one request at a time."""

    def load(self) -> bool:
        self.model: Any = SavedModel()
        self.ready = True
        return True

    async def predict(self, payload: Any, *_: Any, **__: Any) -> Any:
        return {"predictions": self.model.predict(payload["instances"])}


if __name__ == "__main__":
    flights = Flights("flights")
    flights.load()
    settings: dict[str, Any] = {"enable_grpc": False, "workers": 1, "enable_latency_logging": False}
    ModelServer(http_port=int(os.environ["PORT"]), **settings).start([flights])
