"""Which captured records are a trial's own, on an AWS that only seems to be one: files appear in it when the test wants."""

import io
import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import boto3
import pytest
from vehicles import record

from stages.common.errors import InputError
from stages.scones.aws import trial
from stages.scones.aws.deployment import CAPTURED, Deployed

SURE = [0.97, 0.03]
PICTURES = {"a.png": b"a", "b.png": b"b"}
CASES = list(PICTURES)

Files = list[tuple[float, str]]
"""The seconds after which each appears, and its text."""


def line(name: str = "a.png", inference_id: str = "", event: str = "") -> str:
    """A record of that picture."""
    about = {"about_inferenceId": inference_id} if inference_id else {}
    return record(PICTURES[name], json.dumps(SURE), about_eventId=event or str(uuid.uuid4()), **about)


clock = SimpleNamespace(now=0.0, perf_counter=time.perf_counter)
"""Time that passes only while somebody sleeps."""

clock.monotonic = lambda: clock.now
clock.sleep = lambda seconds: setattr(clock, "now", clock.now + seconds)


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
        for number, (after, text) in enumerate(self._files(name, picture.removeprefix("test/"))):
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


OTHERS = line("a.png") + line("b.png", "another-execution.0") + line("a.png", "an id")


@pytest.mark.parametrize(
    "files",
    [
        lambda execution, picture: [(0.1, line(picture))],
        lambda execution, picture: [(0.1, line(picture, f"{execution}.0"))],
        lambda execution, picture: [(0.1, OTHERS + line(picture, f"{execution}.0")), (0.2, OTHERS)],
    ],
    ids=["without ids", "with ids", "beside other users"],
)
def test_one_record_for_each_execution_is_accepted(files: Callable[[str, str], Files]) -> None:
    assert sum(text.count("\n") for text in run(files).captured.values()) == 2


@pytest.mark.parametrize(
    "files",
    [
        lambda execution, picture: [(seconds, line(picture)) for seconds in (0.1, 0.3)],
        lambda execution, picture: [(seconds, line(picture, f"{execution}.0")) for seconds in (0.1, 0.3)],
        lambda execution, picture: [(0.1, line(picture, f"{execution}.0", event=execution) * 2)],
    ],
    ids=["late without ids", "late with ids", "written twice"],
)
def test_a_duplicate_record_is_detected(files: Callable[[str, str], Files]) -> None:
    with pytest.raises(InputError, match=r"no execution for .*\(2 of them\)"):
        run(files)


def test_a_lost_record_is_detected() -> None:
    with pytest.raises(InputError, match="found 1 captured records 1 s after 2 answers"):
        run(lambda execution, picture: [(0.1, line(picture, f"{execution}.0"))] if picture == "a.png" else [])


def test_an_execution_with_retries_has_the_record_of_its_last_try() -> None:
    done = run(
        lambda execution, picture: [(0.2, line(picture, f"{execution}.0")), (0.1, line(picture, f"{execution}.2"))]
    )
    assert all(json.loads(text)["eventMetadata"]["inferenceId"].endswith(".2") for text in done.captured.values())


def test_an_execution_without_an_answer_is_not_waited_for() -> None:
    with pytest.raises(InputError, match="a.png ended with AccessDeniedError"):
        run(lambda execution, picture: [], error="AccessDeniedError")
    assert clock.now < trial.PATIENCE
