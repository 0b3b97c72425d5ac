"""The template and the state machines as text: linted, least privilege, everything captured, no state forgotten."""

import json
import re
from collections.abc import Iterator
from typing import Any

import cfnlint.api
import pytest
from cfnlint.decode import cfn_yaml
from statelint.linter import Linter

from stages.scones.aws import artifacts
from stages.scones.jobs import training

TEMPLATES = [artifacts.TEMPLATE, artifacts.ARTIFACTS_TEMPLATE, training.TEMPLATE]
DEFINITIONS = [artifacts.WORKFLOW, artifacts.FAN_OUT]

LOG_DELIVERY = {
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
}

# AWS's service authorization reference gives these actions no type of resource.
NO_RESOURCE_KNOWN = {"cloudwatch:PutMetricData", "ecr:GetAuthorizationToken", *LOG_DELIVERY}

ALLOWED = {
    # Role: what it may do, and nothing else.
    "ModelRole": {
        "s3:GetObject",
        "s3:PutObject",
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:GetDownloadUrlForLayer",
        "ecr:GetAuthorizationToken",
        "logs:CreateLogGroup",
        "logs:CreateLogStream",
        "logs:DescribeLogStreams",
        "logs:PutLogEvents",
        "cloudwatch:PutMetricData",
    },
    "TrainingRole": {
        "s3:ListBucket",
        "s3:GetObject",
        "s3:PutObject",
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:GetDownloadUrlForLayer",
        "ecr:GetAuthorizationToken",
        "logs:CreateLogGroup",
        "logs:CreateLogStream",
        "logs:DescribeLogStreams",
        "logs:PutLogEvents",
        "cloudwatch:PutMetricData",
    },
    "SerializeImageDataRole": {"s3:GetObject", "s3:ListBucket", "logs:CreateLogStream", "logs:PutLogEvents"},
    "InvokeClassifierRole": {"sagemaker:InvokeEndpoint", "logs:CreateLogStream", "logs:PutLogEvents"},
    "ConfidenceFilterRole": {"logs:CreateLogStream", "logs:PutLogEvents"},
    "WorkflowRole": {"lambda:InvokeFunction", "sns:Publish", *LOG_DELIVERY},
    "FanOutRole": {
        "states:StartExecution",
        "states:DescribeExecution",
        "states:StopExecution",
        "events:DescribeRule",
        "events:PutRule",
        "events:PutTargets",
        *LOG_DELIVERY,
    },
}


def resources(template: Any = artifacts.TEMPLATE) -> dict[str, Any]:
    found: dict[str, Any] = cfn_yaml.load(str(template))["Resources"]
    return found


def of_type(kind: str, template: Any = artifacts.TEMPLATE) -> dict[str, Any]:
    return {name: one["Properties"] for name, one in resources(template).items() if one["Type"] == kind}


def listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def roles() -> dict[str, Any]:
    return {name: role for template in TEMPLATES for name, role in of_type("AWS::IAM::Role", template).items()}


def statements(role: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for policy in role["Policies"]:
        yield from policy["PolicyDocument"]["Statement"]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_cfn_lint_finds_nothing(template: Any) -> None:
    found = cfnlint.api.lint(template.read_text())
    assert [f"{match.rule.id} {match.message}" for match in found] == []


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda path: path.name)
def test_statelint_finds_nothing_once_names_are_substituted(definition: Any) -> None:
    text = definition.read_text().replace("${Partition}", "aws")
    text = re.sub(r"\$\{\w+\}", "arn:aws:lambda:us-east-1:000000000000:function:name", text)
    assert list(Linter.validate(text)) == []


def test_the_template_substitutes_just_the_names_that_the_definitions_have() -> None:
    machines = of_type("AWS::Serverless::StateMachine")
    for machine, definition in (("Workflow", artifacts.WORKFLOW), ("FanOut", artifacts.FAN_OUT)):
        names = set(re.findall(r"\$\{(\w+)\}", definition.read_text()))
        assert set(machines[machine]["DefinitionSubstitutions"]) == names


def test_no_account_and_no_bucket_is_named() -> None:
    for path in [*TEMPLATES, *DEFINITIONS, *artifacts.FUNCTIONS.glob("*.py")]:
        assert not re.search(r"\b\d{12}\b", path.read_text()), path
    assert "BucketName" not in artifacts.TEMPLATE.read_text()
    assert "EndpointName:" not in artifacts.TEMPLATE.read_text().replace("Endpoint.EndpointName", "")


def test_every_role_may_do_what_it_does_and_nothing_else() -> None:
    assert {
        name: {action for one in statements(role) for action in listed(one["Action"])} for name, role in roles().items()
    } == ALLOWED
    for role in roles().values():
        assert "ManagedPolicyArns" not in role


def test_all_resources_stands_only_where_aws_knows_no_other() -> None:
    for name, role in roles().items():
        for statement in statements(role):
            assert statement["Effect"] == "Allow"
            assert not [action for action in listed(statement["Action"]) if "*" in action]
            if statement["Resource"] == "*":
                assert set(listed(statement["Action"])) <= NO_RESOURCE_KNOWN, name
            else:
                for resource in listed(statement["Resource"]):
                    text = resource if isinstance(resource, str) else json.dumps(resource)
                    assert text != "*"
                    assert '"*"' not in text


def test_functions_and_state_machines_have_roles_of_their_own() -> None:
    used = [
        one["Role"]["Fn::GetAtt"][0]
        for kind in ("Function", "StateMachine")
        for one in of_type(f"AWS::Serverless::{kind}").values()
    ]
    assert len(used) == len(set(used)) == 5


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_buckets_are_encrypted_and_never_public(template: Any) -> None:
    (bucket,) = of_type("AWS::S3::Bucket", template).values()
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert bucket["LifecycleConfiguration"]["Rules"]
    (policy,) = of_type("AWS::S3::BucketPolicy", template).values()
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_everything_that_the_endpoint_is_asked_and_answers_is_captured() -> None:
    (config,) = of_type("AWS::SageMaker::EndpointConfig").values()
    capture = config["DataCaptureConfig"]
    assert capture["EnableCapture"] is True
    assert capture["InitialSamplingPercentage"] == 100
    assert [option["CaptureMode"] for option in capture["CaptureOptions"]] == ["Input", "Output"]


def test_state_machines_log_without_the_pictures() -> None:
    for machine in of_type("AWS::Serverless::StateMachine").values():
        assert machine["Logging"]["Level"] == "ALL"
        assert machine["Logging"]["IncludeExecutionData"] is False


def test_alarms_watch_failed_executions_and_the_share_of_low_confidence() -> None:
    alarms = of_type("AWS::CloudWatch::Alarm")
    watched = {alarm["MetricName"]: alarm["Statistic"] for alarm in alarms.values()}
    assert watched == {"ExecutionsFailed": "Sum", "LowConfidence": "Average"}
    for alarm in alarms.values():
        assert alarm["AlarmActions"] == [{"Ref": "Topic"}]


def test_every_task_of_the_workflow_is_retried_and_caught() -> None:
    states = json.loads(artifacts.WORKFLOW.read_text())["States"]
    functions = ["serializeImageData", "invokeClassifier", "confidenceFilter"]
    for name in functions:
        retried = {error for rule in states[name]["Retry"] for error in rule["ErrorEquals"]}
        assert {"Lambda.TooManyRequestsException", "Lambda.ServiceException", "Lambda.SdkClientException"} <= retried
        assert "ThresholdConfidenceNotMet" not in retried
        assert states[name]["Catch"][-1] == {"ErrorEquals": ["States.ALL"], "Next": "notifyError"}
    assert {"EndpointThrottledError", "EndpointUnavailableError"} <= {
        error for rule in states["invokeClassifier"]["Retry"] for error in rule["ErrorEquals"]
    }
    for name in ("notifyError", "notifyLowConfidence"):
        assert states[states[name]["Next"]]["Type"] == "Fail"


def test_the_errors_that_are_retried_are_those_of_the_functions() -> None:
    text = artifacts.WORKFLOW.read_text()
    named = set(re.findall(r'"([A-Z]\w+(?:Error|NotMet))"', text))
    defined = {
        name
        for path in artifacts.FUNCTIONS.glob("*.py")
        for name in re.findall(r"^class (\w+)\(", path.read_text(), re.M)
    }
    assert named
    assert named <= defined
