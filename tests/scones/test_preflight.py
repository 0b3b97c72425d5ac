"""What `deploy --check` finds, by AWS's answers, and which parameters do not go together."""

from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from vehicles import settings

from stages.common.errors import InputError
from stages.scones.aws import preflight
from stages.scones.aws.deployment import inference_image, on_graviton, parameters, repository

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/models/scones:v1.0.0"
SERVERLESS = {"memory": 2048, "concurrency": 5}
SCALING = {"max_instances": 9, "invocations": 60}
CANARY = {"traffic": "canary", "fraction": 0.25, "wait": 300, "errors": 0.1, "latency": 1.5}
NETWORK = {"subnets": ["s"], "security_groups": ["g"]}
ENDPOINTS = "ml.m5.large for endpoint usage"
PYTORCH = "deploy.scones.pytorch = '0.0.1'"
DEPLOYER = "arn:aws:iam::123456789012:role/deployer"
DIGEST = f"{IMAGE.rpartition(':')[0]}@sha256:{'0' * 64}"


def account(
    quota: float = 4, decision: str = "allowed", image: str | None = None, region: str = "eu-west-1"
) -> boto3.Session:
    """An account by its answers; ``image`` is the error of the repository."""

    def answer(model: Any, **_: Any) -> tuple[SimpleNamespace, dict[str, Any]]:
        decided = {"EvalActionName": "iam:PassRole", "EvalDecision": decision}
        answers: dict[str, dict[str, Any]] = {
            "GetCallerIdentity": {"Arn": "arn:aws:sts::123456789012:assumed-role/deployer/session"},
            "ListServiceQuotas": {"Quotas": [{"QuotaName": ENDPOINTS, "Value": quota}]},
            "SimulatePrincipalPolicy": {"EvaluationResults": [decided]},
            "DescribeImages": {"Error": {"Code": image, "Message": ""}} if image else {},
            "DescribeStacks": {"Error": {"Code": "ValidationError", "Message": "Stack with id scones does not exist"}},
        }
        found = answers[model.name]
        status = 400 if "Error" in found else 200
        return SimpleNamespace(status_code=status), {**found, "ResponseMetadata": {"HTTPStatusCode": status}}

    session = boto3.Session("x", "x", region_name=region)
    session.events.register("before-call", answer)
    return session


def test_a_ready_account_is_reported_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    preflight.main(account(), settings(image=IMAGE))
    said = capsys.readouterr().out
    for line in (
        "ok       region: eu-west-1",
        f"ok       image: {IMAGE}",
        f"ok       quota: {ENDPOINTS}: 4, needed 2",
        f"ok       permissions: {DEPLOYER} may do all",
        "ok       stack: scones: does not exist yet",
        "83 USD in 30 days",
    ):
        assert line in said
    assert "warning" not in said


@pytest.mark.parametrize(
    ("changes", "about", "words"),
    [
        ({}, {"quota": 0}, f"quota: {ENDPOINTS}: 0, expected at least 1"),
        ({}, {"quota": 1}, f"quota: {ENDPOINTS}: 1 is enough to create the endpoint, but an update needs 2"),
        ({}, {"decision": "explicitDeny"}, f"permissions: {DEPLOYER} is denied iam:PassRole"),
        ({"image": IMAGE}, {"image": "ImageNotFoundException"}, f"image: {IMAGE}: ImageNotFoundException"),
        ({"image": IMAGE}, {"region": "us-east-1"}, f"image: {IMAGE} is in region eu-west-1, expected us-east-1"),
        ({"pytorch": "0.0.1", "image": None}, {}, f"image: {PYTORCH} is not available in region eu-west-1"),
    ],
)
def test_a_problem_is_named_and_ends_the_check(
    capsys: pytest.CaptureFixture[str], changes: dict[str, Any], about: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match="1 problems: .*nothing was created"):
        preflight.main(account(**about), settings(**{"image": DIGEST, **changes}))
    assert f"PROBLEM  {words}" in capsys.readouterr().out


def test_undetermined_checks_are_no_problem(capsys: pytest.CaptureFixture[str]) -> None:
    preflight.main(account(decision="implicitDeny", image="AccessDeniedException"), settings(image=DIGEST))
    said = capsys.readouterr().out
    assert said.count("unknown") == 2
    assert "deployer_policy.json has what is needed" in said


def test_an_image_without_patches_gives_a_warning() -> None:
    assert "no security patches after 2026-06-30" in preflight.plan(settings(), "eu-west-1")
    assert "warning" not in preflight.plan(settings(image=IMAGE), "eu-west-1")
    assert "captures no requests" in preflight.plan(settings(serverless=SERVERLESS), "eu-west-1")


@pytest.mark.parametrize(
    "kind", ["ml.c7g.large", "ml.m7g.large", "ml.r8g.large", "ml.m6gd.large", "ml.g5.xlarge", "ml.m5.large"]
)
def test_arm_processors_get_images_for_arm(kind: str) -> None:
    arm = kind not in ("ml.g5.xlarge", "ml.m5.large")
    found = settings(instance_type=kind)
    assert ("/pytorch-inference-arm64:2.6.0-cpu-" in inference_image("eu-west-1", found)) is arm
    own = preflight.image(account(), settings(instance_type=kind, image=DIGEST))
    assert own.good is True
    assert ("built for linux/arm64" in own.message) is arm
    assert not on_graviton(settings(instance_type=kind, serverless=SERVERLESS))


def test_a_repository_is_read_from_an_image_s_uri() -> None:
    assert repository(IMAGE) == repository(DIGEST) == "models/scones"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"serverless": SERVERLESS, "challenger": {"archive": "a", "weight": 1.0}}, "challenger: null"),
        ({"serverless": SERVERLESS, "scaling": SCALING}, "scaling: null"),
        ({"serverless": SERVERLESS, "network": NETWORK}, "network: null"),
        ({"scaling": SCALING, "instance_count": 9}, "max_instances above instance_count = 9"),
        ({"update": CANARY}, "instance_count of at least 2"),
        ({"image": "pytorch:latest"}, "image"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        settings(**changes)


def test_optional_parts_reach_the_template() -> None:
    found = parameters("home", {}, IMAGE, 2, settings(instance_count=8, update=CANARY, scaling=SCALING))
    expected = {"TrafficShift": "CANARY", "ShiftInstances": "2", "MaxLatency": "1500000", "MaxInstanceCount": "9"}
    expected |= {"ServerlessMemory": "0", "ImageRepository": "models/scones", "Subnets": ""}
    assert {name: found[name] for name in expected} == expected
