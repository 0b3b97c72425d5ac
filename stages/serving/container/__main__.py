"""Serve one unpacked model.tar.gz by SageMaker's contract for inference containers. Needs no other code of this project.

    python -m container serve                       # /opt/ml/model on port 8080 or SAGEMAKER_BIND_TO_PORT
    python -m container MODEL_FOLDER --fd SOCKET    # as a child of another process

It calls the four functions of the PyTorch inference image in the model's `code/inference.py`: model_fn, input_fn,
predict_fn and output_fn. It also calls batch_fn and ready_fn if they exist. SIGTERM stops it after all accepted requests
are answered. A child ends when its standard input closes, so that a killed parent leaves no server behind.
"""

import argparse
import os
import signal
import socket
from pathlib import Path

from . import parent
from .application import application
from .batching import Limits
from .body import BodyLimits
from .model import LoadedModel
from .server import Server


def main() -> None:
    usual = Limits()
    parser = argparse.ArgumentParser(
        prog="container", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model_folder", help="folder of the model; `serve` means SM_MODEL_DIR, or /opt/ml/model")
    parser.add_argument("--fd", type=int, help="a listening socket to serve on")
    parser.add_argument("--max-batch", type=int, default=usual.batch)
    parser.add_argument("--wait-ms", type=float, default=usual.wait * 1000)
    parser.add_argument("--queue", type=int, default=usual.queue)
    parser.add_argument("--timeout", type=float, default=usual.answer, help="seconds")
    parser.add_argument("--model-seconds", type=float, default=usual.model)
    parser.add_argument("--max-bytes", type=int, default=BodyLimits().size)
    arguments = parser.parse_args()
    if arguments.fd is not None:
        # The parent drains first and then ends this process. A signal to the whole process group would stop both at once.
        # Threads inherit the block, so it comes before them.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
        parent.when_it_ends(lambda: os._exit(0))
    serves = arguments.model_folder == "serve"
    folder = Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model") if serves else arguments.model_folder)
    limits = Limits(
        arguments.max_batch, arguments.wait_ms / 1000, arguments.queue, arguments.timeout, model=arguments.model_seconds
    )
    size = arguments.max_bytes
    app = application(LoadedModel(folder, limits.model), limits, BodyLimits(size, together=8 * size))
    if arguments.fd is None:
        port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))
        listener = socket.create_server(("0.0.0.0", port))  # noqa: S104  a container's own network
    else:
        # uvicorn's own `fd` treats it as a Unix socket: Nagle's algorithm stays on, and each response waits 40 ms.
        listener = socket.socket(fileno=arguments.fd)
    Server(app, listener).serve_until_stopped()


if __name__ == "__main__":
    main()
