"""One process of a Lambda function, run by AWS's own runtime client (awslambdaric), and the Runtime API that it talks to.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import functools
import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server

from stages.common import temporary

BOOTSTRAP = Path(__file__).with_name("bootstrap.py")

LOOK = 0.1
"""Seconds between two looks at a running function's memory."""


@functools.cache
def has_own_tmp() -> bool:
    """Return whether each instance gets a /tmp of its own: this system must let users make mount namespaces."""
    with temporary.folder("check") as empty:
        command = [sys.executable, "-I", str(BOOTSTRAP), "--check", str(empty)]
        return subprocess.run(command, stdin=subprocess.DEVNULL).returncode == 0


@dataclass(frozen=True)
class Code:
    """The definition of a function. A changed one needs a new process. ``arn`` ends in the version, ``memory`` is in MiB."""

    arn: str
    sha256: str
    handler: str
    timeout: int
    memory: int
    environment: tuple[tuple[str, str], ...]
    zipped: bytes = field(repr=False, compare=False)

    @property
    def version(self) -> str:
        return self.arn.split(":")[7]


@dataclass(frozen=True)
class FunctionResult:
    """The answer of Invoke: the function's JSON, or the error's with ``failed``."""

    payload: bytes
    failed: bool = False


def _error(kind: str, message: str) -> FunctionResult:
    return FunctionResult(json.dumps({"errorType": kind, "errorMessage": message}).encode(), failed=True)


class _Handler(WSGIRequestHandler):
    disable_nagle_algorithm = True  # otherwise the second half of each answer waits 40 ms

    def log(self, *_: object) -> None:
        """Do nothing: the output is the function's log."""


class Instance:
    """One process of a function, and the part of the Lambda Runtime API that it talks to. It takes one event at a time."""

    def __init__(self, code: Code, folder: Path, environment: dict[str, str]) -> None:
        self._code = code
        self._events: queue.Queue[tuple[str, bytes] | None] = queue.Queue()
        self._answers: queue.Queue[tuple[str, FunctionResult]] = queue.Queue()
        api = Request.application(self._runtime_api)
        self._api = make_server("127.0.0.1", 0, api, threaded=True, request_handler=_Handler)
        # It looks each 0.1 s whether it is to end.
        threading.Thread(target=self._api.serve_forever, args=(0.1,), daemon=True).start()
        self._tmp = tempfile.TemporaryDirectory(prefix="tmp-")
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(BOOTSTRAP), code.handler, self._tmp.name],
                cwd=folder / "code",
                env={
                    **environment,
                    **dict(code.environment),
                    "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._api.server_port}",
                    "AWS_LAMBDA_FUNCTION_NAME": code.arn.split(":")[6],
                    "AWS_LAMBDA_FUNCTION_VERSION": code.version,
                    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(code.memory),
                    "LAMBDA_TASK_ROOT": str(folder / "code"),
                    "PYTHONDONTWRITEBYTECODE": "1",
                },
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        threading.Thread(target=self._tell_of_its_end, daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def invoke(self, event: bytes) -> FunctionResult:
        """Return the function's answer to ``event``. Above its limits of time or memory the process is killed, as in Lambda."""
        request = str(uuid.uuid4())
        deadline = time.monotonic() + self._code.timeout
        self._events.put((request, event))
        while True:
            left = deadline - time.monotonic()
            try:
                about, answer = self._answers.get(timeout=min(LOOK, max(0.0, left)))
            except queue.Empty:
                about = None
            if about == "":
                self._kill()  # it may be about to end, and must not get another event before that
            elif self._peak() > self._code.memory:
                self._kill()
                message = "Error: Runtime exited with error: signal: killed"
                return _error("Runtime.ExitError", f"RequestId: {request} {message}")
            elif about is None and left <= LOOK and time.monotonic() >= deadline:
                self._kill()
                limit = f"{self._code.timeout:.2f} seconds"
                return _error("Sandbox.Timedout", f"RequestId: {request} Error: Task timed out after {limit}")
            if about in (request, ""):
                return answer

    def _peak(self) -> float:
        """Return the most memory that the process has used, in MiB; 0 once it has ended."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            return 0.0
        return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0.0)

    def _kill(self) -> None:
        """Kill the process. It is no longer ``alive`` afterwards."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._kill()
        with suppress(OSError):
            self._process.stdin.close() if self._process.stdin else None
        self._events.put(None)
        self._api.shutdown()
        self._api.server_close()
        self._tmp.cleanup()

    def _tell_of_its_end(self) -> None:
        status = self._process.wait()
        how = f"signal: {-status}" if status < 0 else f"exit status {status}"
        self._answers.put(("", _error("Runtime.ExitError", f"Error: Runtime exited with error: {how}")))

    def _runtime_api(self, request: Request) -> Response:
        """Take a report to `invocation/ID/response`, `invocation/ID/error` or `init/error`, or wait for the next event."""
        if request.method == "POST":
            *_, about, what = request.path.split("/")
            answer = FunctionResult(request.get_data(), failed=what != "response")
            self._answers.put(("" if about == "init" else about, answer))
            return Response('{"status":"OK"}', 202, content_type="application/json")
        item = self._events.get()
        if item is None:  # the instance is stopped
            return Response(status=410)
        about, event = item
        headers = {
            "Lambda-Runtime-Aws-Request-Id": about,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + self._code.timeout) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": self._code.arn.removesuffix(":$LATEST"),
        }
        return Response(event, headers=headers, content_type="application/json")
