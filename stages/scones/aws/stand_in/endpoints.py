"""SageMaker's InvokeEndpoint: serve the uploaded model.tar.gz in a process that implements the container contract."""

import json
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from stages.common.errors import InputError
from stages.scones.aws.stand_in.capture import Capture, Put
from stages.serving.process import ModelProcess

ANSWER = 60.0
"""Time limit for a container's answer in seconds, by its contract."""

Get = Callable[[str], bytes]
"""Reads the object at an s3:// address."""


@dataclass(frozen=True)
class Variant:
    """A model behind an endpoint: ``model`` is its archive's s3:// address, ``etag`` identifies its version."""

    name: str
    weight: float
    model: str
    etag: str


@dataclass(frozen=True)
class HostedEndpoint:
    """The definition of an endpoint. A changed one makes a new endpoint. ``capture`` is its DataCaptureConfig as JSON."""

    name: str
    variants: tuple[Variant, ...]
    capture: str


@dataclass(frozen=True)
class EndpointResponse:
    """HTTP status, content type and body; the variant that answered, or the error's name."""

    status: int
    content_type: str
    body: bytes
    variant: str = ""
    error: str = ""


def refusal(status: int, error: str, message: str, **more: Any) -> EndpointResponse:
    """Return an error in the format of SageMaker's runtime."""
    body = json.dumps({"ErrorCode": error, "Message": message, **more}).encode()
    return EndpointResponse(status, "application/json", body, error=error)


class Container:
    """One model's process and its HTTP client."""

    def __init__(self, archive: bytes) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="model-")
        path = Path(self._folder.name, "model.tar.gz")
        path.write_bytes(archive)
        self._process = ModelProcess(path)
        self._client = httpx.Client(timeout=ANSWER, trust_env=False)

    def start(self) -> str:
        """Start the process unless it runs. Return its address when the model is loaded. Raise InputError if that fails."""
        return self._process.start()

    def ask(self, body: bytes, content_type: str, accept: str) -> httpx.Response:
        """Return the container's answer, whatever its status.

        Raise httpx.TransportError if there is none, InputError if the container does not start.
        """
        address = self.start()
        headers = {"Content-Type": content_type, "Accept": accept}
        try:
            return self._client.post(f"{address}/invocations", content=body, headers=headers)
        except (httpx.NetworkError, httpx.RemoteProtocolError):  # the process has died
            self._process.died(address)
            raise

    def stop(self) -> None:
        """Stop the process. It can't be started again."""
        self._process.stop()
        self._folder.cleanup()


class Endpoint:
    """Models behind one name, chosen by their weights. Requests and answers are captured."""

    def __init__(self, deployed: HostedEndpoint, get: Get, put: Put) -> None:
        self.deployed = deployed
        settings = json.loads(deployed.capture)
        captured = deployed.variants if settings.get("EnableCapture") else ()
        self._captures = {variant.name: Capture(deployed.name, variant.name, settings, put) for variant in captured}
        self._containers = {variant.name: Container(get(variant.model)) for variant in deployed.variants}
        self._due = {variant.name: 0.0 for variant in deployed.variants}
        self._lock = threading.Lock()
        self._loading: list[threading.Thread] = []

    def load(self) -> None:
        """Start to load the models, so that no request has to wait for that."""

        def start(container: Container) -> None:
            with suppress(InputError):  # the requests will report it
                container.start()

        containers = self._containers.values()
        self._loading = [threading.Thread(target=start, args=(one,), daemon=True) for one in containers]
        for thread in self._loading:
            thread.start()

    def wait(self) -> None:
        """Wait until the models are loaded, or have failed to load."""
        for thread in self._loading:
            thread.join()

    def choose(self) -> str:
        """Return the next variant. In any series of requests each gets its fraction, to within one."""
        with self._lock:
            total = sum(variant.weight for variant in self.deployed.variants)
            for variant in self.deployed.variants:
                self._due[variant.name] += variant.weight / total
            name = max(self._due, key=lambda variant: self._due[variant])
            self._due[name] -= 1
            return name

    def invoke(
        self,
        body: bytes,
        content_type: str,
        accept: str,
        *,
        target: str | None = None,
        inference_id: str = "",
        waiting: Callable[[], bool] = lambda: True,
    ) -> EndpointResponse:
        """Return the answer of the variant ``target``, or of the next one if that is None.

        ``waiting`` returns whether the client still waits. A request that the client gave up while its model was reloaded
        is not answered: it would be captured a second time beside the client's retry.
        """
        if target is not None and target not in self._containers:
            return refusal(400, "ValidationError", f"Variant {target} not found")
        variant = target or self.choose()
        try:
            self._containers[variant].start()
            if not waiting():
                return refusal(503, "ServiceUnavailable", "the client no longer waits for the answer")
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
            self._captures[variant].add((content_type, body), (answered, response.content), inference_id)
        return EndpointResponse(200, answered, response.content, variant)

    def stop(self) -> None:
        for container in self._containers.values():
            container.stop()
        for capture in self._captures.values():
            capture.write()


class Endpoints:
    """All endpoints."""

    def __init__(self, get: Get, put: Put) -> None:
        self._get, self._put = get, put
        self._running: dict[str, Endpoint] = {}
        self._lock = threading.Lock()

    def of(self, deployed: HostedEndpoint) -> Endpoint:
        """Return the endpoint with this definition. The first call starts to load its models."""
        with self._lock:
            endpoint = self._running.get(deployed.name)
            if endpoint is None or endpoint.deployed != deployed:
                if endpoint:
                    endpoint.stop()
                endpoint = self._running[deployed.name] = Endpoint(deployed, self._get, self._put)
                endpoint.load()
            return endpoint

    def wait(self) -> None:
        """Wait until the models of all endpoints are loaded, or have failed to load."""
        with self._lock:
            endpoints = list(self._running.values())
        for endpoint in endpoints:
            endpoint.wait()

    def keep_only(self, names: set[str]) -> None:
        """Stop the endpoints that are no longer deployed."""
        with self._lock:
            for name in set(self._running) - names:
                self._running.pop(name).stop()
