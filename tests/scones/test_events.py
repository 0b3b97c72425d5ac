"""Uploads that start executions, and the schedule that measures what was captured: switched on, used, and switched off."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import boto3
import numpy as np
import pytest
from vehicles import archive, picture, settings, wait_until

from stages.engine.aws.clients import client
from stages.scones.aws import deployment
from stages.scones.aws.stand_in import events, local

ON = {"execute_uploads": True, "watch_hours": 2}
TRAINED_ON = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8)
TEST = {"test.png": picture(250)}


class World(NamedTuple):
    session: boto3.Session
    deployed: deployment.Deployed
    put: Callable[..., deployment.Deployed]

    def executions(self) -> list[dict[str, Any]]:
        states = client(self.session, "stepfunctions")
        found = states.list_executions(stateMachineArn=self.deployed.workflow)["executions"]
        return [states.describe_execution(executionArn=one["executionArn"]) for one in found]

    def measured(self) -> dict[str, float]:
        """The newest value of each metric of the endpoint."""
        cloudwatch, now = client(self.session, "cloudwatch"), datetime.now(UTC)
        when = {"StartTime": now - timedelta(hours=1), "EndTime": now + timedelta(minutes=1), "Period": 1}
        found = {}
        for metric in cloudwatch.list_metrics(Namespace="Scones")["Metrics"]:
            if metric["Dimensions"] == [{"Name": "Endpoint", "Value": "scones-endpoint"}]:
                points = cloudwatch.get_metric_statistics(**metric, **when, Statistics=["Maximum"])["Datapoints"]
                found[metric["MetricName"]] = max(points, key=lambda point: point["Timestamp"])["Maximum"]
        return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    model = archive(tmp_path_factory.mktemp("model"))
    training = deployment.compared_with(TRAINED_ON, TEST.values())
    with local.stand_in("eu-west-1") as session:

        def put(**changes: Any) -> deployment.Deployed:
            return deployment.deploy(session, model, TEST, settings(**changes), training)

        yield World(session, put(**ON), put)


NAMES = ["sure.png", 'a "red" motorcycle & Überfall+1.png', "of/today/unsure.png"]


def test_each_upload_to_pictures_starts_an_execution_and_nothing_else_does(world: World) -> None:
    s3, bucket = client(world.session, "s3"), world.deployed.bucket
    for key in ("results/sure.png", "picture.png", "test/other.png", *(f"pictures/{name}" for name in NAMES)):
        s3.put_object(Bucket=bucket, Key=key, Body=picture(200 if "unsure" in key else 250))
    s3.copy_object(Bucket=bucket, Key="pictures/copy.png", CopySource=f"{bucket}/picture.png")
    wait_until(lambda: len(world.executions()) >= 4 and all(one["status"] != "RUNNING" for one in world.executions()))
    ended = {json.loads(one["input"])["s3_key"]: one.get("error", one["status"]) for one in world.executions()}
    passed = {f"pictures/{name}": "SUCCEEDED" for name in ("copy.png", *NAMES[:2])}
    assert ended == {**passed, f"pictures/{NAMES[2]}": "ThresholdConfidenceNotMet"}
    assert len(world.executions()) == 4


def test_the_schedule_measures_drift_low_confidence_and_accuracy(world: World) -> None:
    runtime = client(world.session, "sagemaker-runtime")
    for red in (250, 250, 250, 200, 230, 230):  # the first three are the test picture: they count for nothing
        runtime.invoke_endpoint(EndpointName="scones-endpoint", ContentType="image/png", Body=picture(red))
    before = world.measured().get("Watched", 0)
    wait_until(lambda: world.measured().get("Watched", 0) > before and "Drift" in world.measured())
    wait_until(lambda: world.measured()["Watched"] in (3, 4))  # with the unsure one that the upload above has sent
    found = world.measured()
    assert found["Drift"] == 1.0
    assert found["LowConfidenceShare"] == 1.0
    assert found["EstimatedAccuracy"] == pytest.approx(np.mean([200, 230, 230] + [200] * (found["Watched"] == 4)) / 255)


def test_schedule_and_uploads_can_be_changed_and_switched_off(world: World) -> None:
    scheduler, rules = client(world.session, "scheduler"), client(world.session, "events")
    world.put(**{**ON, "watch_hours": 5})
    (schedule,) = scheduler.list_schedules()["Schedules"]
    assert scheduler.get_schedule(Name=schedule["Name"])["ScheduleExpression"] == "rate(5 hours)"
    world.put()
    assert scheduler.list_schedules()["Schedules"] == []
    assert not [one["Name"] for one in rules.list_rules()["Rules"] if "EventPattern" in one]
    count = len(world.executions())
    client(world.session, "s3").put_object(Bucket=world.deployed.bucket, Key="pictures/new.png", Body=picture(250))
    time.sleep(1)  # an event that should not come can't be waited for
    assert len(world.executions()) == count


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("rate(1 minute)", 1 / 6), ("rate(6 hours)", 60.0), ("rate(2 days)", 480.0), ("cron(0 9 * * ? *)", None)],
)
def test_an_hour_of_a_schedule_takes_ten_seconds(expression: str, expected: float | None) -> None:
    assert events.seconds(expression) == pytest.approx(expected)
