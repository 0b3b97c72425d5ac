"""SageMaker's InvokeEndpoint: the model.tar.gz that was uploaded, served by a process that speaks the container contract."""

import json
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from stages.common import bundle
from stages.common.program import InputError
from stages.scones.aws.stand_in.capture import Capture, Put

ANSWER = 60.0
"""Seconds that a container has for an answer, by its contract."""

Get = Callable[[str], bytes]
"""Reads an object at an s3:// address."""


@dataclass(frozen=True)
class Variant:
    """A model behind an endpoint: ``model`` is its archive's s3:// address, ``etag`` tells versions of it apart."""

    name: str
    weight: float
    model: str
    etag: str


@dataclass(frozen=True)
class Deployed:
    """What an endpoint is made from: another one of these is another endpoint. ``capture`` is its DataCaptureConfig as JSON."""

    name: str
    variants: tuple[Variant, ...]
    capture: str


@dataclass(frozen=True)
class Answer:
    """HTTP status, content type and body; the variant that answered, or the error's name."""

    status: int
    content_type: str
    body: bytes
    variant: str = ""
    error: str = ""


def refusal(status: int, error: str, message: str, **more: Any) -> Answer:
    """An error as SageMaker's runtime words it."""
    body = json.dumps({"ErrorCode": error, "Message": message, **more}).encode()
    return Answer(status, "application/json", body, error=error)


class Container:
    """One model's process: started at its first request, and again when it has died."""

    def __init__(self, archive: bytes) -> None:
        self._archive = archive
        self._running = ExitStack()
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()

    def ask(self, body: bytes, content_type: str, accept: str) -> httpx.Response:
        """The container's answer, whatever its status.

        Raises httpx.TransportError if there is none, InputError if the container does not start.
        """
        client = self._started()
        try:
            return client.post("/invocations", content=body, headers={"Content-Type": content_type, "Accept": accept})
        except (httpx.NetworkError, httpx.RemoteProtocolError):  # it has died
            self.stop()
            raise

    def _started(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                folder = self._running.enter_context(tempfile.TemporaryDirectory(prefix="model-"))
                archive = Path(folder, "model.tar.gz")
                archive.write_bytes(self._archive)
                endpoint = self._running.enter_context(bundle.serve(archive))
                client = httpx.Client(base_url=endpoint.address, timeout=ANSWER, trust_env=False)
                self._client = self._running.enter_context(client)
            return self._client

    def stop(self) -> None:
        with self._lock:
            self._client = None
            self._running.close()


class Endpoint:
    """Models behind one name, chosen by their weights; what goes in and out is captured."""

    def __init__(self, deployed: Deployed, get: Get, put: Put) -> None:
        self.deployed = deployed
        settings = json.loads(deployed.capture)
        captured = deployed.variants if settings.get("EnableCapture") else ()
        self._captures = {variant.name: Capture(deployed.name, variant.name, settings, put) for variant in captured}
        self._containers = {variant.name: Container(get(variant.model)) for variant in deployed.variants}
        self._due = {variant.name: 0.0 for variant in deployed.variants}
        self._lock = threading.Lock()

    def choose(self) -> str:
        """The variant whose turn it is: over any stretch of requests each gets its share, to within one."""
        with self._lock:
            total = sum(variant.weight for variant in self.deployed.variants)
            for variant in self.deployed.variants:
                self._due[variant.name] += variant.weight / total
            name = max(self._due, key=lambda variant: self._due[variant])
            self._due[name] -= 1
            return name

    def invoke(self, body: bytes, content_type: str, accept: str, target: str | None) -> Answer:
        """The answer of the variant ``target``, or of the one whose turn it is."""
        if target is not None and target not in self._containers:
            return refusal(400, "ValidationError", f"Variant {target} not found")
        variant = target or self.choose()
        try:
            response = self._containers[variant].ask(body, content_type, accept)
        except (httpx.TransportError, InputError) as error:
            message = f'Received server error (0) from {variant} with message "{type(error).__name__}: {error}"'
            return refusal(424, "ModelError", message, OriginalStatusCode=0, OriginalMessage=str(error))
        if response.status_code != 200:
            side = "client" if response.status_code < 500 else "server"
            message = f'Received {side} error ({response.status_code}) from {variant} with message "{response.text}"'
            original = {"OriginalStatusCode": response.status_code, "OriginalMessage": response.text}
            return refusal(424, "ModelError", message, **original)
        answered = response.headers["Content-Type"]
        if variant in self._captures:
            self._captures[variant].add((content_type, body), (answered, response.content))
        return Answer(200, answered, response.content, variant)

    def stop(self) -> None:
        for capture in self._captures.values():
            capture.write()
        for container in self._containers.values():
            container.stop()


class Endpoints:
    """All endpoints that have been invoked."""

    def __init__(self, get: Get, put: Put) -> None:
        self._get, self._put = get, put
        self._running: dict[str, Endpoint] = {}
        self._lock = threading.Lock()

    def of(self, deployed: Deployed) -> Endpoint:
        with self._lock:
            endpoint = self._running.get(deployed.name)
            if endpoint is None or endpoint.deployed != deployed:
                if endpoint:
                    endpoint.stop()
                endpoint = self._running[deployed.name] = Endpoint(deployed, self._get, self._put)
            return endpoint

    def keep_only(self, names: set[str]) -> None:
        """Stop the endpoints that are no longer deployed."""
        with self._lock:
            for name in set(self._running) - names:
                self._running.pop(name).stop()
