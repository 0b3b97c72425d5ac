"""Updates of a deployment on the stand-in: a new model, a challenger, weights, and a bad model that is taken back. No request is lost."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
from vehicles import picture, settings, steady, wait_until

from stages.common.errors import InputError
from stages.engine.aws.clients import client
from stages.engine.aws.stack import Stack
from stages.scones.aws import deployment
from stages.scones.aws.executions import Workflow
from stages.scones.aws.stand_in import local
from stages.scones.aws.stand_in.endpoints import MINUTE, Endpoint, shift
from stages.scones.aws.stand_in.fleet import HostedEndpoint, ProductionVariant


def model(folder: Path, first: float, before: str = "pass") -> Path:
    """A model that gives class 0 that probability, whatever the picture is."""
    return steady(folder / f"{first}", [first, round(1 - first, 6)], before=before)


class Asked(list[float | str | Exception]):
    """The answers that four clients got, in the order in which they came."""

    def __init__(self) -> None:
        super().__init__()
        self.rounds = [0] * 4

    def later(self, more: int = 8) -> int:
        """Return how many answers there were when none was left of those asked for before; wait for `more` after them."""
        begin = list(self.rounds)
        wait_until(lambda: all(now > before for now, before in zip(self.rounds, begin, strict=True)))
        there = len(self)
        wait_until(lambda: len(self) >= there + more)
        return there


UPDATE = {**settings().update.model_dump(), "wait": 0}


class World(NamedTuple):
    """A deployment whose former model says 1.0."""

    session: boto3.Session
    folder: Path

    def put(self, path: Path, **changes: Any) -> deployment.Deployed:
        return deployment.deploy(
            self.session, path, {"sure.png": picture(255)}, settings(**{"update": UPDATE, **changes})
        )

    def ask(self) -> float:
        found = client(self.session, "sagemaker-runtime").invoke_endpoint(
            EndpointName="scones-endpoint", ContentType="application/x-image", Body=picture(255)
        )
        return float(json.loads(found["Body"].read())[0])

    def status(self) -> str | None:
        return Stack(self.session, "scones").status()

    def execute(self, deployed: deployment.Deployed) -> float | str:
        """Returns the first probability, or the execution's error."""
        outcome = Workflow(self.session, deployed.workflow).execute(deployed.bucket, "test/sure.png")
        return outcome.error or outcome.probabilities[0]

    @contextmanager
    def asked(self, deployed: deployment.Deployed | None = None) -> Iterator["Asked"]:
        """Four clients ask the endpoint, or the workflow, all the time; yields their answers and errors."""
        answers = Asked()
        ended = threading.Event()

        def go_on(number: int) -> None:
            while not ended.is_set():
                try:
                    answers.append(self.execute(deployed) if deployed else self.ask())
                except Exception as error:
                    answers.append(error)
                answers.rounds[number] += 1
                time.sleep(0.01)

        with ThreadPoolExecutor(4) as clients:
            clients.map(go_on, range(4))
            try:
                yield answers
            finally:
                ended.set()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with local.stand_in("eu-west-1") as session:
        made = World(session, tmp_path_factory.mktemp("models"))
        made.put(model(made.folder, 1.0))
        yield made


def test_an_update_gives_another_model_in_place_and_loses_no_request(world: World) -> None:
    former = model(world.folder, 1.0)
    with world.asked() as answers:
        said = world.put(model(world.folder, 0.99)).done
        after = answers.later()
    assert "stack scones: updated" in said
    assert set(answers) == {1.0, 0.99}
    assert set(answers[after:]) == {0.99}
    assert world.status() == "UPDATE_COMPLETE"
    assert "stack scones: unchanged" in world.put(model(world.folder, 0.99)).done
    made = world.put(former)  # and back
    assert Workflow(world.session, made.workflow).execute(made.bucket, "test/sure.png").probabilities == (1.0, 0.0)
    sagemaker = client(world.session, "sagemaker")
    assert len(sagemaker.list_models()["Models"]) == len(sagemaker.list_endpoint_configs()["EndpointConfigs"]) == 1


def test_a_challenger_comes_beside_a_deployed_model_by_weight_and_goes_again(world: World) -> None:
    former, other = model(world.folder, 1.0), model(world.folder, 0.98)
    challenger = {"archive": str(other), "weight": 1.0}
    with world.asked() as answers:
        world.put(former, weight=3.0, challenger=challenger)
        before = answers.later(64)
        three_to_one = answers[before : before + 64]
        world.put(former, weight=1.0, challenger=challenger)  # only the weights
        changed = answers.later(64)
        equal = answers[changed : changed + 64]
        client(world.session, "sagemaker").update_endpoint_weights_and_capacities(
            EndpointName="scones-endpoint",
            DesiredWeightsAndCapacities=[
                {"VariantName": name, "DesiredWeight": weight} for name, weight in (("model", 0.0), ("challenger", 1.0))
            ],
        )
        alone = answers.later()
        asked_alone = answers[alone : alone + 8]
        world.put(former, challenger=None)
    assert set(answers) == {1.0, 0.98}
    assert set(asked_alone) == {0.98}
    # Variants take turns by weight; answers come in nearly that order.
    assert Counter(three_to_one)[0.98] / 64 == pytest.approx(1 / 4, abs=0.07)
    assert Counter(equal)[0.98] / 64 == pytest.approx(1 / 2, abs=0.07)
    assert world.ask() == 1.0


@pytest.mark.parametrize(
    ("first", "before", "changes", "alarm", "limit"),
    [
        (0.97, "raise RuntimeError('broken')", {"errors": 0.05}, "errors", "0.05"),
        (0.97, "__import__('time').sleep(0.3)", {"latency": 0.2, "traffic": "canary"}, "latency", "200000"),
        (0.6, "pass", {"traffic": "linear", "fraction": 0.5}, "confidence", "0.4"),
    ],
    ids=["errors", "latency", "confidence"],
)
def test_a_bad_model_raises_an_alarm_and_the_former_one_comes_back(
    world: World, first: float, before: str, changes: dict[str, Any], alarm: str, limit: str
) -> None:
    update = {**UPDATE, "wait": 600, **changes}  # 10 s here, if no alarm ends them
    deployed = world.put(model(world.folder, 1.0), update=update, instance_count=2)
    cloudwatch, ours = client(world.session, "cloudwatch"), {"AlarmNamePrefix": "scones-endpoint-"}
    # The test before has raised alarms: an update that begins under one is taken back. An alarm that is off can go on again as
    # long as any of its periods holds old measurements, because the stand-in's periods end now and not at a full minute.
    watched = [one["Period"] * one["EvaluationPeriods"] for one in cloudwatch.describe_alarms(**ours)["MetricAlarms"]]
    time.sleep(max(watched) / 60 * MINUTE)
    assert "ALARM" not in [one["StateValue"] for one in cloudwatch.describe_alarms(**ours)["MetricAlarms"]]
    # The metric of low confidence is written by the workflow, the others by the endpoint.
    with world.asked(deployed if alarm == "confidence" else None) as answers:
        begin = len(answers)
        with pytest.raises(InputError, match=f"UPDATE_ROLLBACK_COMPLETE.*Endpoint: .*scones-endpoint-{alarm}"):
            world.put(model(world.folder, first, before), update=update, instance_count=2)
        end = answers.later()
    assert world.status() == "UPDATE_ROLLBACK_COMPLETE"
    events = client(world.session, "cloudformation").describe_stack_events(StackName="scones")["StackEvents"]
    steps = ["ROLLBACK_COMPLETE", "ROLLBACK_IN_PROGRESS", "FAILED", "IN_PROGRESS"]
    assert [one["ResourceStatus"] for one in events[:4]] == [f"UPDATE_{step}" for step in steps]
    assert set(answers[end:]) == {1.0}
    met = Counter(str(one) for one in answers[begin:end])
    assert met.pop("1.0") > 0
    assert met  # some did meet the bad model
    if alarm == "errors":
        assert all("RuntimeError: broken" in one or "500" in one for one in met)  # the model's error, no lost request
    else:
        assert set(met) == {{"latency": "0.97", "confidence": "ThresholdConfidenceNotMet"}[alarm]}
    state = cloudwatch.describe_alarms(AlarmNames=[f"scones-endpoint-{alarm}"])
    assert state["MetricAlarms"][0]["StateReason"].endswith(f"breach the threshold {limit}")
    assert len(client(world.session, "sagemaker").list_models()["Models"]) == 1


def test_linear_shifting_moves_equal_steps_and_takes_all_back_at_any_of_them(tmp_path: Path) -> None:
    routing = {"Type": "LINEAR", "WaitIntervalInSeconds": 6, "LinearStepSize": {"Type": "INSTANCE_COUNT", "Value": 1}}
    policy = {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": 6}
    alarms = {"Alarms": [{"AlarmName": "any"}]}
    how = shift({"BlueGreenUpdatePolicy": policy, "AutoRollbackConfiguration": alarms}, instances=4)
    contents = {f"s3://a/{first}": model(tmp_path, first).read_bytes() for first in (1.0, 0.9)}

    def hosted(first: float) -> HostedEndpoint:
        return HostedEndpoint("eu-west-1", "vehicles", (ProductionVariant("model", f"s3://a/{first}", ""),), "{}")

    endpoint = Endpoint(hosted(1.0), contents.__getitem__, lambda *_: None, lambda *_: None)
    shares: list[float] = []

    def ask() -> float:
        answers = [endpoint.invoke(b"", "image/png", "*/*", weights=lambda: {"model": 1.0}) for _ in range(40)]
        assert {one.status for one in answers} == {200}
        return sum(one.body == b"[0.9, 0.1]" for one in answers) / 40

    def alarmed(names: tuple[str, ...], at: float) -> list[str]:
        share = ask()
        if share not in shares:
            shares.append(share)
        return list(names) if share >= at else []

    failure = endpoint.update(hosted(0.9), {"model": 1.0}, how, partial(alarmed, at=0.75), lambda failure: None)
    assert (failure, shares, ask()) == ("these alarms were on: any", [0.25, 0.5, 0.75], 0.0)
    shares.clear()
    assert endpoint.update(hosted(0.9), {"model": 1.0}, how, partial(alarmed, at=2), lambda failure: None) == ""
    assert (shares, ask()) == ([0.25, 0.5, 0.75, 1.0], 1.0)
    endpoint.stop()


def test_an_endpoint_becomes_serverless_and_gets_other_instances_in_place(world: World) -> None:
    serverless = {"memory": 2048, "concurrency": 5}
    for changes in ({"serverless": serverless}, {"instance_type": "ml.m7g.large"}, {"serverless": serverless}):
        deployed = world.put(model(world.folder, 1.0), **changes)
        assert world.execute(deployed) == 1.0
        assert world.status() == "UPDATE_COMPLETE"


def test_update_endpoint_follows_its_deployment_config_and_refuses_what_aws_refuses(world: World) -> None:
    world.put(model(world.folder, 1.0))
    sagemaker = client(world.session, "sagemaker")

    def now() -> dict[str, Any]:
        found: dict[str, Any] = sagemaker.describe_endpoint(EndpointName="scones-endpoint")
        return found

    config_now = sagemaker.describe_endpoint_config(EndpointConfigName=now()["EndpointConfigName"])
    variant = config_now["ProductionVariants"][0]
    container = sagemaker.describe_model(ModelName=variant["ModelName"])["PrimaryContainer"]
    bucket, _, _ = container["ModelDataUrl"].removeprefix("s3://").partition("/")
    own = model(world.folder, 0.96).read_bytes()
    client(world.session, "s3").put_object(Bucket=bucket, Key="mine/model.tar.gz", Body=own)
    role = "arn:aws:iam::123456789012:role/any"
    mine = {**container, "ModelDataUrl": f"s3://{bucket}/mine/model.tar.gz"}
    sagemaker.create_model(ModelName="mine", PrimaryContainer=mine, ExecutionRoleArn=role)
    sagemaker.create_endpoint_config(EndpointConfigName="mine", ProductionVariants=[{**variant, "ModelName": "mine"}])
    canary = {"Type": "CANARY", "WaitIntervalInSeconds": 60, "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 60}}
    deployment_config = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": canary}}
    update = {"EndpointName": "scones-endpoint", "EndpointConfigName": "mine", "DeploymentConfig": deployment_config}
    with pytest.raises(sagemaker.exceptions.ClientError, match="expected at most half of the new fleet"):
        sagemaker.update_endpoint(**update)
    canary["CanarySize"]["Value"] = 50  # type: ignore[index]
    with world.asked() as answers:
        sagemaker.update_endpoint(**update)
        assert now()["EndpointStatus"] == "Updating"
        wait_until(lambda: now()["EndpointStatus"] == "InService")
        end = answers.later()
    assert set(answers) == {1.0, 0.96}
    assert set(answers[end:]) == {0.96}
    assert now()["EndpointConfigName"] == "mine"
