"""Executions of the workflow: test cases started, a limited number at a time, and waited for."""

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import boto3
import numpy as np

from stages.common.program import InputError
from stages.engine.aws.clients import client

LIMIT = 900.0
"""Seconds that an execution may take; the workflow gives itself 600."""


@dataclass(frozen=True)
class Outcome:
    """How an execution of ``key``'s picture ended, ``seconds`` after it began; ``execution`` is its name.

    ``probabilities`` are there if it succeeded, ``error`` and ``cause`` if not.
    """

    key: str
    status: str
    probabilities: tuple[float, ...]
    error: str
    cause: str
    seconds: float
    execution: str = ""


def cases(keys: Sequence[str], count: int, seed: int) -> list[str]:
    """``count`` keys in random order: each once, then each a second time ... so that no two cases are the same before they must."""
    generator = np.random.default_rng(seed)
    rounds = [generator.permutation(len(keys)) for _ in range(-(-count // len(keys)))]
    return [keys[index] for index in np.concatenate(rounds)[:count]]


def event(bucket: str, key: str) -> dict[str, str]:
    """The workflow's input for one picture."""
    return {"image_data": "", "s3_bucket": bucket, "s3_key": key}


class Workflow:
    """The state machine, to be executed."""

    def __init__(self, session: boto3.Session, arn: str) -> None:
        self._client = client(session, "stepfunctions")
        self._arn = arn

    def execute(self, bucket: str, key: str) -> Outcome:
        """One execution, waited for. Raises InputError if it does not end."""
        described = self.run(event(bucket, key))
        output = json.loads(described.get("output") or "{}")
        return Outcome(
            key,
            described["status"],
            tuple(output.get("inferences", ())),
            described.get("error", ""),
            described.get("cause", ""),
            (described["stopDate"] - described["startDate"]).total_seconds(),
            described["name"],
        )

    def run(self, event: Any) -> dict[str, Any]:
        """The description of an execution that has ended. Raises InputError if it does not end."""
        name = uuid.uuid4().hex  # a start that is sent twice is then one execution
        started = self._client.start_execution(stateMachineArn=self._arn, name=name, input=json.dumps(event))
        deadline, pause = time.monotonic() + LIMIT, 0.2
        while time.monotonic() < deadline:
            time.sleep(pause)
            described: dict[str, Any] = self._client.describe_execution(executionArn=started["executionArn"])
            if described["status"] != "RUNNING":
                return described
            pause = min(2.0, pause * 1.3)  # AWS allows 15 such questions a second
        raise InputError(f"the execution {started['executionArn']} did not end within {LIMIT:.0f} s")

    def execute_all(self, bucket: str, keys: Sequence[str], concurrency: int) -> Iterator[Outcome]:
        """An outcome for each of ``keys``, in their order; at most ``concurrency`` run at a time."""
        with ThreadPoolExecutor(concurrency) as pool:
            yield from pool.map(lambda key: self.execute(bucket, key), keys)


def message(outcome: Outcome) -> str:
    """What a failed execution's function said; the cause itself where it is not a function's."""
    try:
        return str(json.loads(outcome.cause)["errorMessage"])
    except (ValueError, KeyError, TypeError):
        return outcome.cause


def latency(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Percentiles of the seconds that an execution took, to the millisecond."""
    p50, p95, p99, longest = np.percentile([outcome.seconds for outcome in outcomes], [50, 95, 99, 100])
    return {
        name: round(float(value), 3) for name, value in (("p50", p50), ("p95", p95), ("p99", p99), ("max", longest))
    }
