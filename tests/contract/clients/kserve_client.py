"""kserve's own client as its documentation uses it: `python kserve_client.py URL NAME` prints what it got as JSON."""

import asyncio
import json
import sys

import numpy as np
from kserve import (  # pyright: ignore[reportMissingImports] (it runs in an environment of its own)
    InferenceRESTClient,
    InferInput,
    InferRequest,
    RESTConfig,
)

COLUMNS = {
    "carrier": ["UA", "B6"],
    "origin": ["EWR", "EWR"],
    "dest": ["IAH", "IAH"],
    "month": np.array([1, 7], np.int64),
    "distance": np.array([1400.0, 94.0], np.float32),
    "temp": np.array([39.02, np.nan], np.float64),
}


def inputs(binary: bool) -> list[InferInput]:
    """The columns as the client's own tensors; text is BYTES."""
    made: list[InferInput] = []
    for name, values in COLUMNS.items():
        if isinstance(values, list):
            values, datatype = np.array([text.encode() for text in values], object), "BYTES"
        else:
            datatype = {"int64": "INT64", "float32": "FP32", "float64": "FP64"}[str(values.dtype)]
        if not binary and datatype == "FP64":
            continue  # JSON has no NaN: a tensor that is not there is missing in every row
        tensor = InferInput(name, [2], datatype)
        tensor.set_data_from_numpy(values, binary_data=binary)
        made.append(tensor)
    return made


async def main(url: str, name: str) -> None:
    """Ask everything that the client can ask of a server of version 2."""
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    found = {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model": await client.is_model_ready(url, name),
    }
    for binary in (True, False):
        request = InferRequest(model_name=name, infer_inputs=inputs(binary), request_id="seven")
        response = await client.infer(url, request, model_name=name)
        (output,) = response.outputs
        found["binary" if binary else "json"] = {
            "id": response.id,
            "output": [output.name, output.datatype, list(output.shape)],
            "predictions": output.as_numpy().tolist(),
        }
    await client.close()
    print(json.dumps(found))


asyncio.run(main(*sys.argv[1:]))
