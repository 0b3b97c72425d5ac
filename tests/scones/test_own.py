"""A user's own workflow: definitions in the style of the console and of courses, with their handlers, run on the stand-in."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import cfnlint.api
import pytest
from vehicles import archive, picture, settings

from stages.common.errors import InputError
from stages.engine.aws.clients import client
from stages.scones.aws import deployment, own, own_template
from stages.scones.aws.executions import Workflow, event
from stages.scones.aws.stand_in import local

# Handlers as a course has them: the picture goes through /tmp, the answer is wrapped in a body.
SERIALIZE = """
import base64
import boto3

def lambda_handler(event, context):
    boto3.client("s3").download_file(event["s3_bucket"], event["s3_key"], "/tmp/image.png")
    with open("/tmp/image.png", "rb") as file:
        image = base64.b64encode(file.read()).decode()
    return {"statusCode": 200, "body": {"image_data": image, "s3_key": event["s3_key"], "inferences": []}}
"""
CLASSIFY = """
import base64
import json
import os
import boto3

def lambda_handler(event, context):
    body = event["body"]
    answer = boto3.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=os.environ["ENDPOINT_NAME"], ContentType="application/x-image", Body=base64.b64decode(body["image_data"])
    )
    return {"statusCode": 200, "body": json.dumps({"s3_key": body["s3_key"], "inferences": json.loads(answer["Body"].read())})}
"""
FILTER = """
import json
import shapes

class BelowThreshold(Exception):
    pass

def handler(event, context):
    inferences = json.loads(event["body"])["inferences"]
    if max(inferences) < shapes.THRESHOLD:
        raise BelowThreshold(f"not sure: {max(inferences):.2f}")
    return {"statusCode": 200, "body": event["body"]}
"""
FILES = {
    "serializeImageData.py": SERIALIZE,
    "classify_image.py": CLASSIFY,
    "filter.py": FILTER,
    "shapes.py": "THRESHOLD = 0.93\n",
}

LAMBDA = "arn:aws:lambda:us-east-1:111122223333:function:"
TASK = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke"}
PASSING = ["Lambda.ServiceException", "Lambda.TooManyRequestsException"]
RETRY = {"ErrorEquals": PASSING, "IntervalSeconds": 1, "MaxAttempts": 3, "BackoffRate": 2}


def machine(**states: dict[str, Any]) -> dict[str, Any]:
    """A state machine that starts with the first of its states."""
    return {"StartAt": next(iter(states)), "States": states}


def console(name: str, **more: Any) -> dict[str, Any]:
    """A task as the console writes it."""
    parameters = {"Payload.$": "$", "FunctionName": f"{LAMBDA}{name}:$LATEST"}
    return {**TASK, "OutputPath": "$.Payload", "Parameters": parameters, "Retry": [RETRY], **more}


def jsonata(name: str, **more: Any) -> dict[str, Any]:
    arguments = {"FunctionName": f"{LAMBDA}{name}:$LATEST", "Payload": "{% $states.input %}"}
    return {**TASK, "Arguments": arguments, "Output": "{% $states.result.Payload %}", **more}


def direct(name: str, version: str = ":$LATEST", **more: Any) -> dict[str, Any]:
    """A task as older definitions have it: a function's ARN is the resource."""
    return {"Type": "Task", "Resource": f"{LAMBDA}{name}{version}", **more}


def parsed(path: str) -> dict[str, Any]:
    """The last state of a workflow: its result is the JSON text at ``path``."""
    parameters = {"found.$": f"States.StringToJson({path})"}
    return {"Type": "Pass", "Parameters": parameters, "OutputPath": "$.found", "End": True}


CONSOLE = machine(
    Serialize=console("serialize-image-data", Next="Classify"),
    Classify=console("classifyImage", Next="Filter"),
    Filter=console(
        "filter",
        ResultSelector={"found.$": "States.StringToJson($.Payload.body)", "code.$": "$.StatusCode"},
        OutputPath="$.found",
        End=True,
    ),
)

JSONATA = {
    "Comment": "JSONata",
    "QueryLanguage": "JSONata",
    **machine(
        Serialize=jsonata("serializeImageData", Next="Classify", Assign={"key": "{% $states.input.s3_key %}"}),
        Classify=jsonata("classifyImage", Next="Sure"),
        Sure={
            "Type": "Choice",
            "Choices": [{"Condition": "{% $max($parse($states.input.body).inferences) >= 0.93 %}", "Next": "Found"}],
            "Default": "Unsure",
        },
        Found={
            "Type": "Pass",
            "Output": {"s3_key": "{% $key %}", "inferences": "{% $parse($states.input.body).inferences.($) %}"},
            "End": True,
        },
        Unsure={
            "Type": "Fail",
            "Error": "BelowThreshold",
            "Cause": "{% 'not sure: ' & $string($max($parse($states.input.body).inferences)) %}",
        },
    ),
}

DIRECT = machine(
    Serialize=direct("serializeImageData", Next="Classify"),
    Classify=direct("classify_image", version="", Next="Filter"),
    Filter=direct("filter", ResultPath="$.checked", Next="Found"),
    Found=parsed("$.body"),
)

# Branches, of whose results one is picked by its index.
PARALLEL = machine(
    Serialize=console("serializeImageData", Next="Both"),
    Both={
        "Type": "Parallel",
        "Branches": [
            machine(Classify=console("classify_image", End=True)),
            machine(Note={"Type": "Pass", "Result": {"note": 1}, "End": True}),
        ],
        "ResultSelector": {"body.$": "$[0].body", "notes.$": "$[1:].note", "all.$": "$[*].note"},
        "Next": "Filter",
    },
    Filter=console(
        "filter",
        Parameters={"Payload.$": "$", "FunctionName": "111122223333:function:filter"},
        OutputPath="$.Payload.body",
        Next="Found",
    ),
    Found=parsed("$"),
)

GUARDED = {
    "kms_key": "arn:aws:kms:eu-west-1:123456789012:key/any",
    "network": {"subnets": ["subnet-1", "subnet-2"], "security_groups": ["sg-1"]},
    "permissions_boundary": "arn:aws:iam::123456789012:policy/any",
    "xray": True,
}


def folder(path: Path, definition: Any, **changed: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, content in {**FILES, **changed, "workflow.json": json.dumps(definition)}.items():
        (path / name).write_text(content)
    return path


@pytest.fixture(scope="module")
def session() -> Iterator[boto3.Session]:
    with local.stand_in("eu-west-1") as found:
        yield found


@pytest.fixture(scope="module")
def deployed(session: boto3.Session, tmp_path_factory: pytest.TempPathFactory) -> deployment.Deployed:
    pictures = {f"{red}.png": picture(red) for red in (255, 200, *range(240, 250))}
    return deployment.deploy(session, archive(tmp_path_factory.mktemp("model")), pictures, settings())


@pytest.mark.parametrize(
    "definition", [CONSOLE, JSONATA, DIRECT, PARALLEL], ids=["console", "jsonata", "direct", "parallel"]
)
def test_a_workflow_in_another_style_runs_as_it_is_written(
    session: boto3.Session, deployed: deployment.Deployed, tmp_path: Path, definition: dict[str, Any]
) -> None:
    chosen = settings(**GUARDED if definition is PARALLEL else {})
    arn, _ = own.deploy(session, deployed, own.read(folder(tmp_path, definition)), chosen)
    states = client(session, "stepfunctions")
    started = [  # unnamed, and all at once: each function's /tmp is its own
        (red, states.start_execution(stateMachineArn=arn, input=json.dumps(event(deployed.bucket, f"test/{red}.png"))))
        for red in (255, 200, *range(240, 250))
    ]
    workflow = Workflow(session, arn)
    outcomes = workflow.outcomes({one["executionArn"]: str(red) for red, one in started})
    for red, one in started:
        outcome = outcomes[one["executionArn"]]
        if red == 200:
            assert (outcome.status, outcome.error) == ("FAILED", "BelowThreshold"), outcome
            assert "not sure: 0.78" in outcome.cause
        else:
            assert outcome.status == "SUCCEEDED", outcome
            output = json.loads(states.describe_execution(executionArn=one["executionArn"])["output"])
            assert output == {"s3_key": f"test/{red}.png", "inferences": [red / 255, 1 - red / 255]}


def test_key_network_traces_and_boundary_apply_to_the_own_workflow() -> None:
    text = own_template.write({"classify_image": "classify_image.lambda_handler"})
    assert [f"{match.rule.id} {match.message}" for match in cfnlint.api.lint(text)] == []
    found = json.loads(text)
    plain, guarded = own_template.parameters(settings()), own_template.parameters(settings(**GUARDED))
    changed = {"KmsKey", "Subnets", "SecurityGroups", "PermissionsBoundary", "XRay"}
    assert {name for name, value in plain.items() if value != guarded[name]} == changed
    for role in ("FunctionRole", "MachineRole"):
        properties = found["Resources"][role]["Properties"]
        assert properties["PermissionsBoundary"]["Fn::If"][0] == "HasBoundary"
        (policy,) = properties["Policies"]
        optional = [one["Fn::If"] for one in policy["PolicyDocument"]["Statement"] if "Fn::If" in one]
        keys = [one["Action"] for condition, one, _ in optional if condition == "HasKey"]
        assert keys == [["kms:Decrypt", "kms:GenerateDataKey"]], role
        assert [condition for condition, _, _ in optional][-1] == "Traced"
    function = found["Resources"]["Functionclassifyimage"]["Properties"]
    conditions = {"KmsKeyArn": "HasKey", "VpcConfig": "InVpc", "Tracing": "Traced"}
    assert {name: function[name]["Fn::If"][0] for name in conditions} == conditions


def run(session: boto3.Session, definition: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
    """What becomes of an execution of a state machine of its own."""
    role = "arn:aws:iam::123456789012:role/any"
    made = client(session, "stepfunctions").create_state_machine(
        name=definition["StartAt"], definition=json.dumps(definition), roleArn=role
    )
    return Workflow(session, made["stateMachineArn"]).run(event)


def test_a_failed_query_is_reported_with_its_text(session: boto3.Session) -> None:
    query = {"Type": "Pass", "Output": "{% $nothing($states.input) %}", "End": True}
    described = run(session, {"QueryLanguage": "JSONata", **machine(Query=query)}, {"text": 'with "quotation marks"'})
    assert (described["status"], described["error"]) == ("FAILED", "States.QueryEvaluationError")
    assert "$nothing" in described["cause"]


def test_a_missing_function_is_an_error_that_a_state_can_catch_also_in_an_express_child(session: boto3.Session) -> None:
    catch = {"ErrorEquals": ["Lambda.ResourceNotFoundException"], "ResultPath": "$.why", "Next": "Lost"}
    missing = console("nothing", Catch=[catch], End=True)
    lost = {"Type": "Pass", "OutputPath": "$.why.Error", "End": True}
    children = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}}
    processor = {**children, **machine(Ask=missing, Lost=lost)}
    each = {"Type": "Map", "ItemsPath": "$.items", "ItemProcessor": processor, "End": True}
    described = run(session, machine(Each=each), {"items": [{"one": 1}, {"two": 2}]})
    assert json.loads(described["output"]) == ["Lambda.ResourceNotFoundException"] * 2


def test_a_function_may_be_called_without_waiting_for_it(session: boto3.Session, deployed: deployment.Deployed) -> None:
    functions = client(session, "lambda")

    def status(kind: str) -> int:
        answer = functions.invoke(FunctionName="scones-confidenceFilter", InvocationType=kind, Payload=b"{}")
        assert "FunctionError" not in answer
        return int(answer["StatusCode"])

    assert (status("Event"), status("DryRun")) == (202, 204)


def test_a_version_of_a_function_stays_as_it_was_published(
    session: boto3.Session, deployed: deployment.Deployed
) -> None:
    functions = client(session, "lambda")
    name = "scones-confidenceFilter"
    version = functions.publish_version(FunctionName=name)["Version"]
    functions.update_function_configuration(
        FunctionName=name, Environment={"Variables": {"THRESHOLD": "0.5", "WORKFLOW": "w"}}
    )
    unsure = json.dumps({"inferences": [0.6, 0.4], "known": True}).encode()

    def ends(**asked: str) -> tuple[str, bool]:
        answer = functions.invoke(Payload=unsure, **asked)
        return answer["ExecutedVersion"], "FunctionError" in answer

    arn = functions.get_function(FunctionName=name)["Configuration"]["FunctionArn"].removesuffix(":$LATEST")
    assert ends(FunctionName=f"{arn}:$LATEST") == ends(FunctionName=name) == ("$LATEST", False)
    assert ends(FunctionName=f"{arn}:{version}") == ends(FunctionName=name, Qualifier=version) == (version, True)
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.invoke(FunctionName=f"{arn}:77", Payload=b"{}")


def changed(old: str, new: str) -> str:
    """The definition with one text replaced by another."""
    return json.dumps(CONSOLE).replace(old, new, 1)


HEAD_OBJECT = "arn:aws:states:::aws-sdk:s3:headObject"
DISTRIBUTED = changed("{", '{"ProcessorConfig": {"Mode": "DISTRIBUTED"}, ')


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("other.json", "{}", r"found \['other.json', 'workflow.json'\] .json files"),
        ("workflow.json", "[]", "found no state machine"),
        ("workflow.json", '{"StartAt": "b", "States": {"a": {}}}', "StartAt: found 'b', expected one of a"),
        ("filter.py", None, "found the function filter, expected one of classify_image"),
        ("workflow.json", changed("filter:$LATEST", "filter:3"), "found filter:3, expected \\$LATEST or no version"),
        (
            "workflow.json",
            changed(TASK["Resource"], HEAD_OBJECT),
            f"Resource: found {HEAD_OBJECT}, expected lambda:invoke or sns:publish",
        ),
        ("workflow.json", DISTRIBUTED, "Mode: found DISTRIBUTED, expected INLINE"),
        ("filter.py", "import sagemaker\ndef handler(e, c): pass", "the import of sagemaker, which Lambda's"),
        ("filter.py", "def handler(:", "filter.py: found invalid Python"),
    ],
)
def test_undeployable_workflows_are_refused_with_the_reason(
    tmp_path: Path, file: str, content: str | None, words: str
) -> None:
    path = folder(tmp_path, CONSOLE) / file
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(InputError, match=words):
        own.read(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no folder"):
        own.read(tmp_path / "nowhere")
