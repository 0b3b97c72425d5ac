"""Serves an unpacked model.tar.gz the way an inference container does; needs nothing else of this project.

    python -I container.py MODEL_FOLDER --fd SOCKET

It speaks SageMaker's container contract (`GET /ping`, `POST /invocations`) and calls the four functions of the PyTorch
inference image in the model's `code/inference.py`: model_fn, input_fn, predict_fn, output_fn. It ends when its standard
input closes, so that a killed parent leaves no server behind.
"""

import argparse
import importlib
import os
import socket
import sys
import threading
import traceback
from pathlib import Path
from typing import Annotated, cast

import uvicorn
from fastapi import FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool


def application(model_folder: Path) -> FastAPI:
    """The server for one model, which is loaded before it answers its first ping."""
    sys.path.insert(0, str(model_folder / "code"))
    inference = importlib.import_module("inference")
    model = inference.model_fn(str(model_folder))
    app = FastAPI()

    def answer(body: bytes, content_type: str, accept: str) -> bytes | str:
        prediction = inference.predict_fn(inference.input_fn(body, content_type), model)
        return cast("bytes | str", inference.output_fn(prediction, accept))

    @app.get("/ping")
    def ping() -> Response:
        return Response()

    @app.post("/invocations")
    async def invocations(
        request: Request,
        content_type: Annotated[str, Header()] = "application/octet-stream",
        accept: Annotated[str, Header()] = "application/json",
    ) -> Response:
        accept = "application/json" if accept == "*/*" else accept
        try:
            body = await run_in_threadpool(answer, await request.body(), content_type, accept)
        except Exception as error:
            # ValueError says that the request is at fault; errors of SageMaker's toolkit bring a status of their own.
            status = getattr(error, "status_code", 400 if isinstance(error, ValueError) else 500)
            if status >= 500:
                traceback.print_exc()  # not raised: the server would close the connection behind its answer
            return JSONResponse({"error": getattr(error, "message", str(error))}, status_code=status)
        return Response(body, media_type=accept)

    return app


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("model_folder", type=Path)
    parser.add_argument("--fd", type=int, required=True, help="a listening socket to serve on")
    arguments = parser.parse_args()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Not uvicorn's own `fd`: it takes the socket for a Unix one, so Nagle's algorithm stays on and each answer waits 40 ms.
    listener = socket.socket(fileno=arguments.fd)
    server = uvicorn.Server(uvicorn.Config(application(arguments.model_folder), log_level="warning"))
    server.run(sockets=[listener])
