"""The models of one endpoint configuration, each served by a process that implements the container contract."""

import json
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from stages.scones.aws.stand_in.capture import Capture, Put
from stages.serving.process import PLAIN, ModelProcess

ANSWER = 60.0
"""Time limit for a container's answer in seconds, by its contract."""

Get = Callable[[str], bytes]
"""Reads the object at an s3:// address."""


@dataclass(frozen=True)
class ProductionVariant:
    """A model behind an endpoint: ``model`` is its archive's s3:// address, ``etag`` identifies its version."""

    name: str
    model: str
    etag: str


@dataclass(frozen=True)
class HostedEndpoint:
    """The definition of an endpoint's models. A changed one needs other processes. ``capture`` is its DataCaptureConfig as JSON."""

    region: str
    name: str
    variants: tuple[ProductionVariant, ...]
    capture: str


class Container(ModelProcess):
    """One model's process and its HTTP client."""

    def __init__(self, archive: bytes) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="model-")
        path = Path(self._place.name, "model.tar.gz")
        path.write_bytes(archive)
        super().__init__(path)
        self._client = httpx.Client(timeout=ANSWER, trust_env=False, verify=PLAIN)

    def ask(self, body: bytes, content_type: str, accept: str) -> httpx.Response:
        """Return the container's answer, whatever its status.

        Raise httpx.TransportError if there is none, InputError if the container does not start.
        """
        address = self.start()
        headers = {"Content-Type": content_type, "Accept": accept}
        try:
            return self._client.post(f"{address}/invocations", content=body, headers=headers)
        except (httpx.NetworkError, httpx.RemoteProtocolError):  # the process has died
            self.died(address)
            raise

    def stop(self) -> None:
        """Stop the process. It can't be started again."""
        super().stop()
        self._place.cleanup()


class Fleet:
    """The processes of one definition, and their captures."""

    def __init__(self, hosted: HostedEndpoint, get: Get, put: Put) -> None:
        self.hosted = hosted
        settings: dict[str, Any] = json.loads(hosted.capture)
        captured = hosted.variants if settings.get("EnableCapture") else ()
        self._captures = {variant.name: Capture(hosted.name, variant.name, settings, put) for variant in captured}
        self.containers = {variant.name: Container(get(variant.model)) for variant in hosted.variants}
        self._loading: dict[str, Future[str]] = {}
        self._requests = 0
        self._idle = threading.Condition()

    def load(self) -> None:
        """Start to load the models, so that no request has to wait for that."""
        threads = ThreadPoolExecutor(len(self.containers))
        self._loading = {name: threads.submit(one.start) for name, one in self.containers.items()}
        threads.shutdown(wait=False)

    def wait(self) -> str:
        """Wait until the models are loaded or have failed to load. Return why the first one failed, or an empty text."""
        failures = {name: loading.exception() for name, loading in self._loading.items()}
        return next((f"{name}: {why}" for name, why in sorted(failures.items()) if why), "")

    def count(self, change: int) -> None:
        """Count a request that begins, 1, or ends, -1. ``drain`` waits for the end of all."""
        with self._idle:
            self._requests += change
            self._idle.notify_all()

    def capture(self, variant: str, request: tuple[str, bytes], answer: tuple[str, bytes], inference_id: str) -> None:
        if variant in self._captures:
            self._captures[variant].add(request, answer, inference_id)

    def drain(self) -> None:
        """Wait for the requests that have begun, then stop. No request may begin any more."""
        with self._idle:
            self._idle.wait_for(lambda: self._requests == 0, timeout=ANSWER)
        self.stop()

    def stop(self) -> None:
        for container in self.containers.values():
            container.stop()
        for capture in self._captures.values():
            capture.write()
