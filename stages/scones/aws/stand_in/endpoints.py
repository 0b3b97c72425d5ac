"""SageMaker's InvokeEndpoint and UpdateEndpoint: models behind an endpoint's name, and moving its requests to new models."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from stages.common.errors import InputError
from stages.scones.aws.stand_in.capture import Put
from stages.scones.aws.stand_in.fleet import Fleet, Get, HostedEndpoint

MINUTE = 1.0
"""Seconds that a minute of a deployment's waits takes here. The periods of alarms shrink alike."""

Measure = Callable[[str, str, str, int, float], None]
"""Takes a request's region, endpoint, variant, HTTP status and the model's seconds."""


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


Shift = tuple[tuple[tuple[float, float], ...], tuple[str, ...]]
"""How requests move to a new fleet: steps, each a fraction and the seconds that the alarms are watched, and these alarms."""


def shift(deployment: Mapping[str, Any], instances: int) -> Shift:
    """Return the steps of a DeploymentConfig for a fleet of ``instances``. Raise InputError for what AWS refuses."""
    policy = deployment.get("BlueGreenUpdatePolicy") or {}
    routing = policy.get("TrafficRoutingConfiguration") or {}
    kind, wait = routing.get("Type", "ALL_AT_ONCE"), routing.get("WaitIntervalInSeconds", 0) / 60 * MINUTE
    last = (1.0, policy.get("TerminationWaitInSeconds", 0) / 60 * MINUTE)
    alarms = tuple(one["AlarmName"] for one in (deployment.get("AutoRollbackConfiguration") or {}).get("Alarms", []))
    if kind == "ALL_AT_ONCE":
        return (last,), alarms
    size = routing.get("CanarySize" if kind == "CANARY" else "LinearStepSize") or {}
    part = size["Value"] / (instances if size["Type"] == "INSTANCE_COUNT" else 100)
    if not 0 < part <= 0.5:
        raise InputError(f"{kind} with {size} of {instances} instances: expected at most half of the new fleet")
    parts = [part] if kind == "CANARY" else [part * step for step in range(1, int(1 / part - 1e-9) + 1)]
    return (*((one, wait) for one in parts), last), alarms


class Endpoint:
    """A fleet behind a name, and during an update a second one that gets a fraction of the requests."""

    def __init__(self, hosted: HostedEndpoint, get: Get, put: Put, measure: Measure) -> None:
        self._get, self._put, self._measure = get, put, measure
        self._fleet = Fleet(hosted, get, put)
        self._next: Fleet | None = None
        self._next_weights: Mapping[str, float] = {}
        self._fraction = self._due_next = 0.0
        self._due: dict[str, float] = {}
        self._lock = threading.RLock()
        self._updating = threading.Lock()

    @property
    def hosted(self) -> HostedEndpoint:
        return self._fleet.hosted

    def load(self) -> None:
        """Start to load the models, so that no request has to wait for that."""
        self._fleet.load()

    def wait(self) -> str:
        """Wait until the models are loaded or have failed to load. Return why the first one failed, or an empty text."""
        return self._fleet.wait()

    def choose(self, weights: Mapping[str, float]) -> str:
        """Return the next variant. In any series of requests each gets its fraction, to within one."""
        with self._lock:
            total = sum(weights.values())
            self._due = {name: self._due.get(name, 0.0) + weight / total for name, weight in weights.items()}
            name = max(self._due, key=lambda variant: self._due[variant])
            self._due[name] -= 1
            return name

    @contextmanager
    def _request(self, weights: Callable[[], Mapping[str, float]], target: str | None) -> Iterator[tuple[Fleet, str]]:
        """Choose a fleet, which stays until the block ends, and one of its variants."""
        with self._lock:
            fleet, own = self._fleet, weights()
            if self._next is not None:
                self._due_next += self._fraction
                if self._due_next >= 1 - 1e-9:
                    self._due_next -= 1
                    fleet, own = self._next, self._next_weights
            fleet.count(1)
            variant = target or self.choose(own)
        try:
            yield fleet, variant
        finally:
            fleet.count(-1)

    def invoke(
        self,
        body: bytes,
        content_type: str,
        accept: str,
        *,
        weights: Callable[[], Mapping[str, float]],
        target: str | None = None,
        inference_id: str = "",
        waiting: Callable[[], bool] = lambda: True,
    ) -> EndpointResponse:
        """Return the answer of the variant ``target``, or if that is None of the next one by the current ``weights``.

        ``waiting`` returns whether the client still waits. If it gave up while its model was reloaded, the request is not
        answered, because it would be captured a second time beside the client's retry.
        """
        with self._request(weights, target) as (fleet, variant):
            if variant not in fleet.containers:
                return refusal(400, "ValidationError", f"Variant {variant} not found")
            container, begin = fleet.containers[variant], time.monotonic()
            try:
                container.start()
                if not waiting():
                    return refusal(503, "ServiceUnavailable", "the client no longer waits for the answer")
                response = container.ask(body, content_type, accept)
            except (httpx.TransportError, InputError) as error:
                self._measure(self.hosted.region, self.hosted.name, variant, 500, time.monotonic() - begin)
                message = f'Received server error (0) from {variant} with message "{type(error).__name__}: {error}"'
                return refusal(424, "ModelError", message, OriginalStatusCode=0, OriginalMessage=str(error))
            self._measure(self.hosted.region, self.hosted.name, variant, response.status_code, time.monotonic() - begin)
            if response.status_code != 200:
                side = "client" if response.status_code < 500 else "server"
                code, text = response.status_code, response.text
                message = f'Received {side} error ({code}) from {variant} with message "{text}"'
                return refusal(424, "ModelError", message, OriginalStatusCode=code, OriginalMessage=text)
            answered = response.headers["Content-Type"]
            fleet.capture(variant, (content_type, body), (answered, response.content), inference_id)
            return EndpointResponse(200, answered, response.content, variant)

    def update(
        self,
        hosted: HostedEndpoint,
        weights: Mapping[str, float],
        how: Shift,
        alarmed: Callable[[tuple[str, ...]], list[str]],
        taken: Callable[[str], None],
    ) -> str:
        """Move all requests to the models of ``hosted``. Return an empty text, or the reason for a rollback.

        No request is lost: each ends in the fleet in which it began. ``alarmed`` returns those alarms that are on. ``taken`` is
        called with the result before any request sees it.
        """
        with self._updating:
            if hosted == self.hosted:
                taken("")
                return ""
            green = Fleet(hosted, self._get, self._put)
            green.load()
            failure = green.wait()
            steps, names = how
            for fraction, seconds in () if failure else steps:
                with self._lock:
                    self._next, self._next_weights, self._fraction = green, weights, fraction
                if on := self._watch(names, seconds, alarmed):
                    failure = f"these alarms were on: {', '.join(on)}"
                    break
            with self._lock:
                former, self._next = self._fleet, None
                if not failure:
                    self._fleet = green
                taken(failure)
            threading.Thread(target=(green if failure else former).drain, daemon=True).start()
            return failure

    @staticmethod
    def _watch(names: tuple[str, ...], seconds: float, alarmed: Callable[[tuple[str, ...]], list[str]]) -> list[str]:
        """Return the alarms that are on within ``seconds``, as soon as there is one."""
        deadline = time.monotonic() + seconds
        while names and time.monotonic() < deadline:
            if on := alarmed(names):
                return on
            time.sleep(0.05)
        time.sleep(max(0.0, deadline - time.monotonic()))
        return []

    def stop(self) -> None:
        with self._lock:
            fleets = filter(None, [self._fleet, self._next])
        for fleet in fleets:
            fleet.stop()


class Endpoints:
    """All endpoints."""

    def __init__(self, get: Get, put: Put, measure: Measure) -> None:
        self._get, self._put, self._measure = get, put, measure
        self._running: dict[str, Endpoint] = {}
        self._lock = threading.Lock()

    def of(self, hosted: HostedEndpoint) -> Endpoint:
        """Return the endpoint of this name. The first call, with its definition, starts to load its models."""
        with self._lock:
            if hosted.name not in self._running:
                self._running[hosted.name] = Endpoint(hosted, self._get, self._put, self._measure)
                self._running[hosted.name].load()
            return self._running[hosted.name]

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
