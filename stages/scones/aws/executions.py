"""Run test cases through the workflow, a limited number at a time."""

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import boto3
import numpy as np

from stages.common.errors import InputError
from stages.engine.aws.clients import client

LIMIT = 900.0
"""Time limit of an execution, in seconds. The workflow's own limit is 600."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of an execution for ``key``'s picture, ``seconds`` after it started; ``execution`` is its name.

    ``probabilities`` are set if it succeeded, ``error`` and ``cause`` if it failed.
    """

    key: str
    status: str
    probabilities: tuple[float, ...]
    error: str
    cause: str
    seconds: float
    execution: str = ""


def cases(keys: Sequence[str], count: int, seed: int) -> list[str]:
    """Return ``count`` keys in random order: each once, then each a second time, and so on, to repeat keys as late as possible."""
    generator = np.random.default_rng(seed)
    rounds = [generator.permutation(len(keys)) for _ in range(-(-count // len(keys)))]
    return [keys[index] for index in np.concatenate(rounds)[:count]]


def event(bucket: str, key: str) -> dict[str, str]:
    """Return the workflow's input for one picture."""
    return {"image_data": "", "s3_bucket": bucket, "s3_key": key}


class Workflow:
    """Executes the state machine."""

    def __init__(self, session: boto3.Session, arn: str) -> None:
        self._client = client(session, "stepfunctions")
        self._arn = arn

    def execute(self, bucket: str, key: str) -> Outcome:
        """Run one execution and return its outcome. Raise InputError if it does not end."""
        return _outcome(key, self.run(event(bucket, key)))

    def start(self, event: Any) -> str:
        """Start an execution and return its ARN."""
        name = uuid.uuid4().hex  # with a name, a start that is sent twice is one execution
        started = self._client.start_execution(stateMachineArn=self._arn, name=name, input=json.dumps(event))
        return str(started["executionArn"])

    def run(self, event: Any) -> dict[str, Any]:
        """Run one execution and return its description. Raise InputError if it does not end."""
        arn = self.start(event)
        deadline, pause = time.monotonic() + LIMIT, 0.2
        while time.monotonic() < deadline:
            time.sleep(pause)
            described: dict[str, Any] = self._client.describe_execution(executionArn=arn)
            if described["status"] != "RUNNING":
                return described
            pause = min(2.0, pause * 1.3)  # AWS allows 15 such requests per second
        raise InputError(f"the execution {arn} did not end within {LIMIT:.0f} s")

    def outcomes(self, started: Mapping[str, str]) -> dict[str, Outcome]:
        """Wait for executions, given the picture's key by ARN, and return their outcomes by ARN. Raise InputError if one does not end.

        One request lists a thousand. AWS allows only 15 requests a second that describe one, so only failures are described.
        """
        deadline = time.monotonic() + LIMIT
        while any(one["executionArn"] in started for one in self._listed("RUNNING")):
            if time.monotonic() > deadline:
                raise InputError(f"executions did not end within {LIMIT:.0f} s")
            time.sleep(1.0)
        ended = {one["executionArn"]: one for one in self._listed() if one["executionArn"] in started}
        for number, (arn, one) in enumerate(ended.items()):
            if one["status"] == "FAILED":
                time.sleep(0.1 if number > 200 else 0.0)  # AWS allows some 250 at once, then 10 to 15 a second
                ended[arn] = self._client.describe_execution(executionArn=arn)
        return {arn: _outcome(started[arn], one) for arn, one in ended.items()}

    def _listed(self, status: str | None = None) -> Iterator[dict[str, Any]]:
        chosen = {"statusFilter": status} if status else {}
        for page in self._client.get_paginator("list_executions").paginate(stateMachineArn=self._arn, **chosen):
            yield from page["executions"]

    def execute_all(self, bucket: str, keys: Sequence[str], concurrency: int) -> Iterator[Outcome]:
        """Yield an outcome for each of ``keys``, in their order. At most ``concurrency`` run at a time."""
        with ThreadPoolExecutor(concurrency) as pool:
            yield from pool.map(lambda key: self.execute(bucket, key), keys)


def _outcome(key: str, described: Mapping[str, Any]) -> Outcome:
    probabilities = json.loads(described.get("output") or "{}").get("inferences", ())
    seconds = (described["stopDate"] - described["startDate"]).total_seconds()
    why = described.get("error", ""), described.get("cause", "")
    return Outcome(key, described["status"], tuple(probabilities), *why, seconds, described["name"])


def message(outcome: Outcome) -> str:
    """Return the error message of a failed execution's function, or the cause itself if no function failed."""
    try:
        return str(json.loads(outcome.cause)["errorMessage"])
    except (ValueError, KeyError, TypeError):
        return outcome.cause


def latency(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return percentiles of the seconds that an execution took, to the millisecond."""
    found = np.percentile([outcome.seconds for outcome in outcomes], [50, 95, 99, 100])
    return {name: round(float(value), 3) for name, value in zip(("p50", "p95", "p99", "max"), found, strict=True)}
