"""The template and the state machines as text: linted, least privilege, everything captured, no state forgotten."""

import fnmatch
import functools
import json
import re
from collections.abc import Iterator
from typing import Any

import cfnlint.api
import pytest
from cfnlint.decode import cfn_yaml
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER
from statelint.linter import Linter

from stages.engine.sagemaker import job
from stages.scones.aws import artifacts, preflight

TEMPLATES = [artifacts.TEMPLATE, artifacts.ARTIFACTS_TEMPLATE, job.TEMPLATE]
DEFINITIONS = [artifacts.WORKFLOW, artifacts.FAN_OUT]
WORKFLOW, FAN_OUT = (json.loads(path.read_text())["States"] for path in DEFINITIONS)

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
TRACES = {"xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments"}
INTERFACES = {  # of which none exists yet when a function is created
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:CreateNetworkInterfacePermission",
    "ec2:DeleteNetworkInterface",
    "ec2:DeleteNetworkInterfacePermission",
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "ec2:UnassignPrivateIpAddresses",
}
NO_RESOURCE_KNOWN = {
    "cloudwatch:GetMetricStatistics",
    "cloudwatch:PutMetricData",
    "ecr:GetAuthorizationToken",
    *LOG_DELIVERY,
    *TRACES,
    *INTERFACES,
}

LOGGING = {"logs:CreateLogStream", "logs:PutLogEvents"}

CONTAINER = {  # what SageMaker's containers need: their image, their log, their metrics
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:GetDownloadUrlForLayer",
    "ecr:GetAuthorizationToken",
    "logs:CreateLogGroup",
    "logs:DescribeLogStreams",
    *LOGGING,
    "cloudwatch:PutMetricData",
}

ALLOWED = {
    # Role: what it may do, and nothing else.
    "ModelRole": {
        "s3:GetObject",
        "s3:PutObject",
        *(CONTAINER - {"logs:CreateLogGroup"}),  # the stack makes its log
    },
    "TrainingRole": {"s3:ListBucket", "s3:GetObject", "s3:PutObject", *CONTAINER},
    "SerializeImageDataRole": {"s3:GetObject", "s3:ListBucket", *LOGGING},
    "InvokeClassifierRole": {"sagemaker:InvokeEndpoint", *LOGGING},
    "ConfidenceFilterRole": LOGGING,
    "WorkflowRole": {"lambda:InvokeFunction", "sns:Publish", *LOG_DELIVERY},
    "FanOutRole": {
        "states:StartExecution",
        "states:DescribeExecution",
        "states:StopExecution",
        "events:DescribeRule",
        "events:PutRule",
        "events:PutTargets",
        "s3:ListBucket",
        "s3:GetObject",
        "s3:PutObject",
        "s3:ListMultipartUploadParts",
        "s3:AbortMultipartUpload",
        *LOG_DELIVERY,
    },
    "WatchRole": {"s3:ListBucket", "s3:GetObject", "cloudwatch:PutMetricData", *LOGGING},
    "WatchScheduleRole": {"lambda:InvokeFunction"},
    "UploadRole": {"states:StartExecution"},
    "DigestRole": {"cloudwatch:GetMetricStatistics", "sns:Publish", *LOGGING},
}

OPTIONAL = {
    # Policy: what its roles may do besides, if its condition holds.
    "Keys": ("HasKey", {"kms:Decrypt", "kms:GenerateDataKey", "kms:CreateGrant"}),
    "WorkflowKeys": ("HasKey", {"kms:Decrypt", "kms:GenerateDataKey"}),
    "Network": ("InVpc", INTERFACES),
    "Traces": ("Traced", TRACES),
}

ENCRYPTED = {"BucketPolicy.EncryptedConnectionsOnly": {"*", "s3:*", "${Bucket.Arn}/*"}}  # denies
LOGS = "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:"
STATES = "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:"
REGISTRIES = "arn:${AWS::Partition}:ecr:${AWS::Region}:*:repository/"

WILDCARDS = {
    # Template, resource and statement: all wildcards in it.
    artifacts.ARTIFACTS_TEMPLATE: ENCRYPTED,
    artifacts.TEMPLATE: {
        **ENCRYPTED,
        "ModelRole.Capture": {"${Bucket.Arn}/data_capture/*"},
        "ModelRole.LogInToRegistry": {"*"},
        "ModelRole.ReadModel": {
            f"arn:${{AWS::Partition}}:s3:::${{ArtifactBucket}}/*/{name}.tar.gz" for name in ("model", "challenger")
        },
        "ModelRole.Log": {f"{LOGS}/aws/sagemaker/Endpoints/${{AWS::StackName}}-endpoint:*"},
        "ModelRole.Measure": {"*", "/aws/sagemaker/*"},
        "SerializeImageDataRole.ReadPictures": {"${Bucket.Arn}/test/*", "${Bucket.Arn}/pictures/*"},
        "WorkflowRole.DeliverLogs": {"*"},
        "FanOutRole.Wait": {
            f"{STATES}execution:${{Workflow.Name}}:*",
            f"{STATES}execution:${{AWS::StackName}}-fan-out/*:*",
        },
        "FanOutRole.WriteResults": {"${Bucket.Arn}/results/*"},
        "FanOutRole.DeliverLogs": {"*"},
        "DigestRole.Count": {"*"},
        "WatchRole.ReadCaptured": {
            "${Bucket.Arn}/data_capture/*",
            "arn:${AWS::Partition}:s3:::${ArtifactBucket}/*/training.json",
        },
        "WatchRole.Measure": {"*"},
        "Network.Connect": {"*"},
        "Traces.Trace": {"*"},
    },
    job.TEMPLATE: {
        **ENCRYPTED,
        "TrainingRole.ReadInputWriteModel": {"${Bucket.Arn}/*"},
        "TrainingRole.PullImage": {f"{REGISTRIES}pytorch-training", f"{REGISTRIES}image-classification"},
        "TrainingRole.LogInToRegistry": {"*"},
        "TrainingRole.Log": {f"{LOGS}/aws/sagemaker/TrainingJobs*"},
        "TrainingRole.Measure": {"*", "/aws/sagemaker/*"},
    },
}


@functools.cache
def resources(template: Any = artifacts.TEMPLATE) -> dict[str, Any]:
    found: dict[str, Any] = cfn_yaml.load(str(template))["Resources"]
    return found


def of_type(kind: str, template: Any = artifacts.TEMPLATE) -> dict[str, Any]:
    return {name: one["Properties"] for name, one in resources(template).items() if one["Type"] == kind}


def listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def roles() -> dict[str, Any]:
    return {name: role for template in TEMPLATES for name, role in of_type("AWS::IAM::Role", template).items()}


def nodes(node: Any) -> Iterator[Any]:
    """``node`` and all that is within it."""
    yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
        yield from nodes(inner)


def policies(node: Any) -> list[dict[str, Any]]:
    """The statements of all policy documents within ``node``, whatever resource they belong to."""
    documents = [one for one in nodes(node) if isinstance(one, dict) and "Statement" in one]
    return [statement for one in documents for statement in listed(one["Statement"])]


def actions(node: Any) -> set[str]:
    return {action for statement in policies(node) for action in listed(statement["Action"])}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_cfn_lint_finds_nothing(template: Any) -> None:
    found = cfnlint.api.lint(template.read_text())
    assert [f"{match.rule.id} {match.message}" for match in found] == []


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda path: path.name)
def test_statelint_finds_nothing_once_names_are_substituted(definition: Any) -> None:
    text = definition.read_text().replace("${Partition}", "aws")
    text = re.sub(r"\$\{\w+\}", "arn:aws:lambda:us-east-1:000000000000:function:name", text)
    assert list(Linter.validate(text)) == []


def test_the_template_substitutes_exactly_the_names_in_the_definitions() -> None:
    machines = of_type("AWS::Serverless::StateMachine")
    for machine, definition in (("Workflow", artifacts.WORKFLOW), ("FanOut", artifacts.FAN_OUT)):
        names = set(re.findall(r"\$\{(\w+)\}", definition.read_text()))
        assert set(machines[machine]["DefinitionSubstitutions"]) == names


def test_no_account_and_no_bucket_is_named() -> None:
    for path in [*TEMPLATES, *DEFINITIONS, *artifacts.FUNCTIONS.glob("*.py")]:
        assert not re.search(r"\b\d{12}\b", path.read_text()), path
    assert "BucketName" not in artifacts.TEMPLATE.read_text()
    # What has a name has the stack's in it, so that several deployments go together.
    for name, one in resources().items():
        kind = one["Type"].rsplit("::", 1)[1]
        names = {f"{kind}Name", "FunctionName", "LogGroupName"} - {"PolicyName"}  # a policy's is one within a role
        given = [value for key, value in one.get("Properties", {}).items() if key in names]
        assert all("Ref" in value or "${AWS::StackName}" in value["Fn::Sub"] for value in given), name


def test_every_role_has_only_the_permissions_that_it_uses() -> None:
    assert {name: actions(role["Policies"]) for name, role in roles().items()} == ALLOWED
    assert not any("ManagedPolicyArns" in role for role in roles().values())
    optional = {name: one for name, one in resources().items() if one["Type"] == "AWS::IAM::Policy"}
    assert {name: (one["Condition"], actions(one["Properties"])) for name, one in optional.items()} == OPTIONAL


def wildcards(found: dict[str, Any]) -> dict[str, set[str]]:
    starred = {
        f"{name}.{statement.get('Sid')}": {
            str(text) for text in nodes(statement) if isinstance(text, str) and re.search("[*?]", text)
        }
        for name, resource in found.items()
        for statement in policies(resource)
    }
    return {place: texts for place, texts in starred.items() if texts}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_policy_has_another_wildcard_than_those_that_are_permitted(template: Any) -> None:
    assert wildcards(resources(template)) == WILDCARDS[template]


@pytest.mark.parametrize(
    "properties",
    [
        {"PolicyDocument": {"Statement": {"Resource": "arn:aws:s3:::*"}}},
        {"Policies": [{"PolicyDocument": {"Statement": [{"Resource": [{"Fn::Sub": "arn:aws:ecr:r:*:x"}]}]}}]},
        {"Policies": [{"Statement": [{"Action": ["s3:Get?bject"]}]}]},
        {"AssumeRolePolicyDocument": {"Statement": [{"Principal": {"AWS": "*"}}]}},
    ],
)
def test_a_wildcard_is_found_in_any_policy(properties: dict[str, Any]) -> None:
    assert wildcards({"New": {"Properties": properties}})


def test_all_policies_are_found_by_these_tests() -> None:
    for template in TEMPLATES:
        for resource in resources(template).values():
            kind, properties = resource["Type"], resource.get("Properties", {})
            assert not kind.startswith("AWS::IAM::") or kind in ("AWS::IAM::Role", "AWS::IAM::Policy")
            assert not kind.startswith("AWS::Serverless::") or "Policies" not in properties  # SAM's, also by name
            for statement in policies(properties):
                assert not {"NotAction", "NotResource", "NotPrincipal"} & set(statement)


def test_a_resource_of_star_is_used_only_where_aws_requires_it() -> None:
    for name, one in {**roles(), **of_type("AWS::IAM::Policy")}.items():
        for statement in policies([one.get("Policies"), one.get("PolicyDocument")]):
            assert statement["Effect"] == "Allow"
            assert not [action for action in listed(statement["Action"]) if "*" in action]
            if statement["Resource"] == "*":
                assert set(listed(statement["Action"])) <= NO_RESOURCE_KNOWN, name


def test_a_role_is_for_one_service_of_the_same_account() -> None:
    account = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    for name, role in roles().items():
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert list(statement["Principal"]) == ["Service"]
        if statement["Principal"]["Service"] != "lambda.amazonaws.com":  # which does not say whom it serves
            assert statement["Condition"] == account, name


def test_functions_and_state_machines_have_roles_of_their_own() -> None:
    code = [*of_type("AWS::Serverless::Function").values(), *of_type("AWS::Serverless::StateMachine").values()]
    used = [one["Role"]["Fn::GetAtt"][0] for one in code]
    assert len(used) == len(set(used)) == 7


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


def test_all_requests_and_answers_of_the_endpoint_are_captured() -> None:
    (config,) = of_type("AWS::SageMaker::EndpointConfig").values()
    on_instances, capture, none = config["DataCaptureConfig"]["Fn::If"]
    assert (on_instances, none) == ("OnInstances", {"Ref": "AWS::NoValue"})  # serverless endpoints can't
    assert capture["EnableCapture"] is True
    assert capture["InitialSamplingPercentage"] == {"Ref": "CapturePercentage"}
    assert [option["CaptureMode"] for option in capture["CaptureOptions"]] == ["Input", "Output"]


def test_an_update_is_rolled_back_by_alarms_created_before_it() -> None:
    endpoint = resources()["Endpoint"]
    deployment = endpoint["Properties"]["DeploymentConfig"]["Fn::If"][1]
    named = {one["AlarmName"]["Fn::Sub"] for one in deployment["AutoRollbackConfiguration"]["Alarms"]}
    alarms = [one for name, one in of_type("AWS::CloudWatch::Alarm").items() if name in endpoint["DependsOn"]]
    assert named == {one["AlarmName"]["Fn::Sub"] for one in alarms}
    assert {one["MetricName"] for one in alarms} == {"Invocation5XXErrors", "ModelLatency", "LowConfidence"}
    assert "EndpointLogs" in endpoint["DependsOn"]


def test_data_outlives_its_stack_and_replaced_versions_are_kept_for_a_time() -> None:
    bucket = resources()["Bucket"]
    assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"
    assert bucket["Properties"]["VersioningConfiguration"] == {"Status": "Enabled"}


UNUSED = (
    # Actions of CloudFormation's own list for the types of resources, whose properties no template here has.
    "(s3tables|s3files|elasticfilesystem|firehose):|s3:REST|"
    "s3:.*(Abac|Accelerate|Acl|Analytics|Cors|CORS|Inventory|IntelligentTiering|Lifecycle|Logging|Metadata|Metrics|ObjectLock|"
    "Replication|Website)|"
    "lambda:.*(CapacityProvider|CodeSigning|Concurrency|PublishVersion|Recursion|RuntimeAlias|RuntimeManagement|Scaling)|"
    "logs:.*(BearerToken|DataProtection|DeletionProtection|IndexPolicy|DeleteResourcePolicy)|"
    "iam:.*(Group|User)Policy|iam:(Attach|Detach)RolePolicy|sns:PutDataProtectionPolicy|application-autoscaling:.*ScheduledAction"
)


def test_the_deployers_policy_covers_what_cloudformation_does_for_each_resource() -> None:
    statements = json.loads(preflight.POLICY.read_text())["Statement"]
    allowed = [action for one in statements for action in one["Action"]]
    types = {one["Type"] for template in TEMPLATES[:2] for one in resources(template).values()}
    serverless = {"AWS::Lambda::Function", "AWS::Lambda::Permission", "AWS::StepFunctions::StateMachine"}
    for kind in {one for one in types if "Serverless" not in one} | serverless:
        handlers = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema["handlers"]
        needed = {one for name, about in handlers.items() if name != "list" for one in about["permissions"]}
        lacking = {one for one in needed if not any(fnmatch.fnmatch(one, pattern) for pattern in allowed)}
        assert {one for one in lacking if not re.match(UNUSED, one)} == set(), kind
    assert {one for one in allowed if "*" in one and not re.search(r":(Get|List|Describe)\*$", one)} == set()
    everywhere = [one["Sid"] for one in statements if one["Resource"] == "*"]
    assert everywhere == ["Watch", "WithoutResources"]
    assert len(json.dumps(statements, separators=(",", ":"))) < 6144 - 100  # IAM's limit for a managed policy


def test_state_machines_log_without_the_pictures() -> None:
    for machine in of_type("AWS::Serverless::StateMachine").values():
        assert machine["Logging"]["Level"] == "ALL"
        assert machine["Logging"]["IncludeExecutionData"] is False


def test_an_alarm_watches_the_share_of_low_confidence() -> None:
    alarm = of_type("AWS::CloudWatch::Alarm")["LowConfidence"]
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"]) == ("Scones", "LowConfidence", "Average")
    assert alarm["AlarmActions"] == [{"Ref": "Alerts"}]


def test_an_alarm_watches_unexpected_failures_but_not_low_confidence() -> None:
    alarm = of_type("AWS::CloudWatch::Alarm")["FailedExecutions"]
    assert alarm["AlarmActions"] == [{"Ref": "Alerts"}]
    count, *metrics = alarm["Metrics"]
    terms = {name: sign or "+" for sign, name in re.findall(r"([+-]?) ?FILL\((\w+), 0\)", count["Expression"])}
    assert set(terms) == {one["Id"] for one in metrics}
    assert not [one["Id"] for one in metrics if one["ReturnData"] or one["MetricStat"]["Stat"] != "Sum"]
    watched = set()
    for one in metrics:
        metric = one["MetricStat"]["Metric"]
        machines = [dimension["Value"]["Ref"] for dimension in metric.get("Dimensions", [])]
        watched.add((terms[one["Id"]], metric["MetricName"], *machines))
    assert watched == {
        ("+", "Failed"),
        ("-", "FailedByDesign"),
        ("+", "ExecutionsTimedOut", "Workflow"),
        ("+", "ExecutionsAborted", "Workflow"),
        ("+", "ExecutionsFailed", "FanOut"),
        ("+", "ExecutionsTimedOut", "FanOut"),
        ("+", "ExecutionsAborted", "FanOut"),
    }


def test_executions_that_fail_by_design_are_counted_by_the_state_in_which_they_end() -> None:
    found = of_type("AWS::Logs::MetricFilter").values()
    filters = {one["MetricTransformations"][0]["MetricName"]: one for one in found}
    assert set(filters) == {"Failed", "FailedByDesign"}
    assert {one["LogGroupName"]["Ref"] for one in filters.values()} == {"WorkflowLogs"}
    counted = re.findall(r'\$\.details\.name = "(\w+)"', filters["FailedByDesign"]["FilterPattern"])
    assert {WORKFLOW[state]["Type"] for state in counted} == {"Fail"}
    assert {WORKFLOW[name]["Next"] for name in ("notifyLowConfidence", "notifyUnknown")} == set(counted)


def retried(state: dict[str, Any]) -> set[str]:
    return {error for rule in state["Retry"] for error in rule["ErrorEquals"]}


def test_every_task_of_the_workflow_is_retried_and_caught() -> None:
    passing = {"Lambda.TooManyRequestsException", "Lambda.ServiceException", "Lambda.SdkClientException"}
    for name in ("serializeImageData", "invokeClassifier", "confidenceFilter"):
        assert passing <= retried(WORKFLOW[name])
        assert not {"ThresholdConfidenceNotMet", "UnknownPictureError"} & retried(WORKFLOW[name])
        assert WORKFLOW[name]["Catch"][-1] == {"ErrorEquals": ["States.ALL"], "Next": "notifyError"}
    assert {"EndpointThrottledError", "EndpointUnavailableError"} <= retried(WORKFLOW["invokeClassifier"])
    for name in ("notifyError", "notifyLowConfidence", "notifyUnknown"):
        assert WORKFLOW[name]["Retry"][0]["MaxAttempts"] >= 2
        assert WORKFLOW[WORKFLOW[name]["Next"]]["Type"] == "Fail"


def test_a_throttled_start_is_retried_and_no_error_of_a_picture_is_left_uncaught() -> None:
    task = FAN_OUT["eachPicture"]["ItemProcessor"]["States"]["workflow"]
    many = FAN_OUT["eachPictureOfMany"]["ItemProcessor"]["States"]  # the same, as names are unique in a state machine
    same = json.dumps(FAN_OUT["eachPicture"]["ItemProcessor"]["States"])
    assert json.loads(json.dumps(many).replace("OfMany", "")) == json.loads(same)
    assert "StepFunctions.ThrottlingException" in retried(task)
    assert not {"States.TaskFailed", "States.ALL"} & retried(task)  # a workflow that has failed is not executed again
    assert [rule["ErrorEquals"] for rule in task["Catch"]] == [["States.ALL"]]


def test_the_errors_that_are_retried_are_those_of_the_functions() -> None:
    text = artifacts.WORKFLOW.read_text()
    named = set(re.findall(r'"([A-Z]\w+(?:Error|NotMet))"', text))
    functions = "\n".join(path.read_text() for path in artifacts.FUNCTIONS.glob("*.py"))
    assert named
    assert named <= set(re.findall(r"^class (\w+)\(", functions, re.M))
