"""Which captured records are a trial's own, on an AWS that only seems to be one: files appear in it when the test wants."""

import base64
import io
import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import boto3
import pytest

from stages.common.errors import InputError
from stages.scones.aws import trial
from stages.scones.aws.deployment import CAPTURED, Deployed

SURE = [0.97, 0.03]
PICTURES = {"a.png": b"a", "b.png": b"b"}
CASES = list(PICTURES)

Files = list[tuple[float, list[str]]]
"""The seconds after which each appears, and its lines."""


def line(name: str = "a.png", inference_id: str = "", event: str = "") -> str:
    """A record of that picture."""
    image = base64.b64encode(PICTURES[name]).decode()
    about = {"eventId": event or str(uuid.uuid4()), "inferenceTime": "2026-01-01T00:00:00Z"}
    return json.dumps(
        {
            "captureData": {
                "endpointInput": {"observedContentType": "image/png", "data": image, "encoding": "BASE64"},
                "endpointOutput": {
                    "observedContentType": "application/json",
                    "data": json.dumps(SURE),
                    "encoding": "JSON",
                },
            },
            "eventMetadata": {**about, **({"inferenceId": inference_id} if inference_id else {})},
        }
    )


class Clock:
    """Time that passes only while somebody sleeps."""

    perf_counter = staticmethod(time.perf_counter)

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


clock = Clock()


@pytest.fixture(autouse=True)
def fast_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock.now = 0.0
    monkeypatch.setattr(trial, "time", clock)
    monkeypatch.setattr(trial, "QUIET", 0.3)
    monkeypatch.setattr(trial, "PATIENCE", 1.0)


class Aws:
    """Executions that succeed at once, and what is captured of each: ``files`` by its name and its picture."""

    def __init__(self, files: Callable[[str, str], Files], error: str = "") -> None:
        self._files, self._error = files, error
        self._captured: dict[str, tuple[float, str]] = {}
        self._keys: dict[str, str] = {}

    def client(self, service: str, **more: Any) -> "Aws":
        return self

    def start_execution(self, name: str, input: str, **more: Any) -> dict[str, str]:  # noqa: A002 (boto3's)
        picture = self._keys[name] = json.loads(input)["s3_key"]
        for number, (after, lines) in enumerate(self._files(name, picture.removeprefix("test/"))):
            text = "".join(f"{one}\n" for one in lines)
            self._captured[f"{CAPTURED}endpoint/model/{name}-{number}.jsonl"] = (clock.monotonic() + after, text)
        return {"executionArn": name}

    def describe_execution(self, executionArn: str) -> dict[str, Any]:
        now = datetime.now(UTC)
        output = json.dumps({"s3_key": self._keys[executionArn], "inferences": SURE})
        how = {"status": "FAILED", "error": self._error} if self._error else {"status": "SUCCEEDED", "output": output}
        return {"name": executionArn, "startDate": now, "stopDate": now, **how}

    def get_paginator(self, operation: str) -> "Aws":
        return self

    def paginate(self, **more: Any) -> list[dict[str, Any]]:
        return [{"Contents": [{"Key": key} for key, (at, _) in self._captured.items() if at <= clock.monotonic()]}]

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        return {"Body": io.BytesIO(self._captured[Key][1].encode())}


def run(files: Callable[[str, str], Files], error: str = "") -> trial.Trial:
    deployed = Deployed("home", "bucket", "workflow", "fan-out", "endpoint", "topic", [])
    done = trial.run(cast(boto3.Session, Aws(files, error)), deployed, CASES, 2)
    trial.check(done, PICTURES, 0.94)
    return done


@pytest.mark.parametrize("number", ["", "{execution}.0"], ids=["without ids", "with ids"])
def test_one_record_for_each_execution_is_accepted(number: str) -> None:
    done = run(lambda execution, picture: [(0.1, [line(picture, number.format(execution=execution))])])
    assert sum(text.count("\n") for text in done.captured.values()) == 2


@pytest.mark.parametrize("number", ["", "{execution}.0"], ids=["without ids", "with ids"])
def test_a_duplicate_record_is_detected_even_if_it_arrives_late(number: str) -> None:
    def files(execution: str, picture: str) -> Files:
        return [(seconds, [line(picture, number.format(execution=execution))]) for seconds in (0.1, 0.3)]

    with pytest.raises(InputError, match=r"no execution for .*\(2 of them\)"):
        run(files)


def test_a_record_written_twice_is_detected() -> None:
    with pytest.raises(InputError, match=r"no execution for .*\(2 of them\)"):
        run(lambda execution, picture: [(0.1, [line(picture, f"{execution}.0", event=execution)] * 2)])


def test_a_lost_record_is_detected() -> None:
    with pytest.raises(InputError, match="found 1 captured records 1 s after 2 answers"):
        run(lambda execution, picture: [(0.1, [line(picture, f"{execution}.0")])] if picture == "a.png" else [])


def test_an_execution_with_retries_has_the_record_of_its_last_try() -> None:
    def files(execution: str, picture: str) -> Files:
        return [(0.2, [line(picture, f"{execution}.0")]), (0.1, [line(picture, f"{execution}.2")])]

    done = run(files)
    assert all(json.loads(text)["eventMetadata"]["inferenceId"].endswith(".2") for text in done.captured.values())


def test_requests_of_other_users_are_left_out() -> None:
    def files(execution: str, picture: str) -> Files:
        others = [line("a.png"), line("b.png", "another-execution.0"), line("a.png", "an id")]
        return [(0.1, [*others, line(picture, f"{execution}.0")]), (0.2, others)]

    done = run(files)
    assert sum(text.count("\n") for text in done.captured.values()) == 2


def test_an_execution_without_an_answer_is_not_waited_for() -> None:
    with pytest.raises(InputError, match="a.png ended with AccessDeniedError"):
        run(lambda execution, picture: [], error="AccessDeniedError")
    assert clock.now < trial.PATIENCE
