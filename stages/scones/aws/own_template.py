"""The CloudFormation template of a user's own workflow: a function for each handler, the state machine, and their roles.

The settings of the deployment beside it apply to it, too: key, network, traces, permissions boundary, retention of logs.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from stages.scones.config import WorkflowSettings

TEXTS = ["ArtifactBucket", "CodeKey", "DefinitionKey", "Bucket", "Endpoint", "Topic", "Threshold"]
TEXTS += ["LogDays", "KmsKey", "PermissionsBoundary", "XRay"]

CONDITIONS = {
    "HasKey": {"Fn::Not": [{"Fn::Equals": [{"Ref": "KmsKey"}, ""]}]},
    "InVpc": {"Fn::Not": [{"Fn::Equals": [{"Fn::Join": ["", {"Ref": "Subnets"}]}, ""]}]},
    "HasBoundary": {"Fn::Not": [{"Fn::Equals": [{"Ref": "PermissionsBoundary"}, ""]}]},
    "Traced": {"Fn::Equals": [{"Ref": "XRay"}, "true"]},
}

ANSWERED = {
    "CKV_AWS_115": "a reserved concurrency would take from the account's; the state machine retries",
    "CKV_AWS_116": "the state machine waits for the function",
    "CKV_AWS_117": "the parameter Subnets puts it into a VPC",
    "CKV_AWS_158": "the parameter KmsKey encrypts it",
    "CKV_AWS_173": "the environment has no secret; the parameter KmsKey encrypts it",
}
"""The reason why the template skips a rule of checkov, by rule."""


def logical(name: str) -> str:
    """Return a function's name in a template, which has only letters and digits."""
    return "Function" + re.sub(r"[\W_]", "", name)


def write(handlers: Mapping[str, str]) -> str:
    """Return the template, as JSON. ``handlers`` are `module.function` by the function's name."""
    arns = {logical(name): {"Fn::GetAtt": [logical(name), "Arn"]} for name in handlers}
    called = [one for name, arn in arns.items() for one in (arn, {"Fn::Sub": f"${{{name}.Arn}}:*"})]
    allowed = [_allow(["lambda:InvokeFunction"], called), _allow(["sns:Publish"], {"Ref": "Topic"})]
    machine = {
        "Name": {"Fn::Sub": "${AWS::StackName}-workflow"},
        "Role": {"Fn::GetAtt": ["MachineRole", "Arn"]},
        "Tracing": {"Enabled": {"Fn::If": ["Traced", True, False]}},
        "DefinitionUri": {"Bucket": {"Ref": "ArtifactBucket"}, "Key": {"Ref": "DefinitionKey"}},
        "DefinitionSubstitutions": {"Topic": {"Ref": "Topic"}, **arns},
    }
    resources: dict[str, Any] = {
        "FunctionRole": _role("lambda.amazonaws.com", _of_functions()),
        "MachineRole": _role("states.amazonaws.com", allowed),
        "Machine": {"Type": "AWS::Serverless::StateMachine", "Properties": machine},
    }
    for name, handler in handlers.items():
        resources |= _function(name, handler)
    lists = {key: {"Type": "CommaDelimitedList"} for key in ["Subnets", "SecurityGroups"]}
    whole = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Transform": "AWS::Serverless-2016-10-31",
        "Parameters": {key: {"Type": "String"} for key in TEXTS} | lists,
        "Conditions": CONDITIONS,
        "Resources": resources,
        "Outputs": {"Workflow": {"Value": {"Ref": "Machine"}}},
    }
    return json.dumps(whole, indent=1)


def parameters(settings: WorkflowSettings) -> dict[str, str]:
    """Return those of the template's parameters that are settings."""
    network = settings.network
    return {
        "Threshold": f"{settings.threshold:g}",
        "LogDays": str(settings.log_days),
        "KmsKey": settings.kms_key or "",
        "PermissionsBoundary": settings.permissions_boundary or "",
        "XRay": str(settings.xray).lower(),
        "Subnets": ",".join(network.subnets if network else []),
        "SecurityGroups": ",".join(network.security_groups if network else []),
    }


def _if(condition: str, value: Any) -> dict[str, Any]:
    return {"Fn::If": [condition, value, {"Ref": "AWS::NoValue"}]}


def _allow(actions: list[str], resource: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resource}


def _of_functions() -> list[dict[str, Any]]:
    bucket = [{"Fn::Sub": f"arn:${{AWS::Partition}}:s3:::${{Bucket}}{rest}"} for rest in ("", "/*")]
    endpoint = {"Fn::Sub": "arn:${AWS::Partition}:sagemaker:${AWS::Region}:${AWS::AccountId}:endpoint/${Endpoint}"}
    own = "log-group:/aws/lambda/${AWS::StackName}-*"
    logs = {"Fn::Sub": "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:" + own}
    interfaces = ["CreateNetworkInterface", "DeleteNetworkInterface", "DescribeNetworkInterfaces", "DescribeSubnets"]
    interfaces += ["AssignPrivateIpAddresses", "UnassignPrivateIpAddresses"]
    return [
        _allow(["s3:GetObject", "s3:ListBucket"], bucket),
        _allow(["sagemaker:InvokeEndpoint"], endpoint),
        _allow(["logs:CreateLogStream", "logs:PutLogEvents"], logs),
        _if("InVpc", _allow([f"ec2:{one}" for one in interfaces], "*")),  # which do not exist yet
    ]


def _role(service: str, allowed: list[dict[str, Any]]) -> dict[str, Any]:
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    traces = ("PutTraceSegments", "PutTelemetryRecords", "GetSamplingRules", "GetSamplingTargets")
    both = [
        _if("HasKey", _allow(["kms:Decrypt", "kms:GenerateDataKey"], {"Ref": "KmsKey"})),
        _if("Traced", _allow([f"xray:{one}" for one in traces], "*")),  # AWS has no resources for these actions
    ]
    policy = {"Version": "2012-10-17", "Statement": [*allowed, *both]}
    properties = {
        "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]},
        "Policies": [{"PolicyName": "own", "PolicyDocument": policy}],
        "PermissionsBoundary": _if("HasBoundary", {"Ref": "PermissionsBoundary"}),
    }
    return {"Type": "AWS::IAM::Role", "Properties": properties}


def _skip(*rules: str) -> dict[str, Any]:
    return {"checkov": {"skip": [{"id": rule, "comment": ANSWERED[rule]} for rule in rules]}}


def _function(name: str, handler: str) -> dict[str, Any]:
    """Return the function and its log."""
    log = {
        "LogGroupName": {"Fn::Sub": f"/aws/lambda/${{AWS::StackName}}-{name}"},
        "RetentionInDays": {"Ref": "LogDays"},
        "KmsKeyId": _if("HasKey", {"Ref": "KmsKey"}),
    }
    network = {"SubnetIds": {"Ref": "Subnets"}, "SecurityGroupIds": {"Ref": "SecurityGroups"}}
    variables = {"ENDPOINT_NAME": {"Ref": "Endpoint"}, "BUCKET": {"Ref": "Bucket"}, "THRESHOLD": {"Ref": "Threshold"}}
    properties = {
        "FunctionName": {"Fn::Sub": f"${{AWS::StackName}}-{name}"},
        "CodeUri": {"Bucket": {"Ref": "ArtifactBucket"}, "Key": {"Ref": "CodeKey"}},
        "Handler": handler,
        "Runtime": "python3.13",
        "Timeout": 75,
        "MemorySize": 512,
        "Role": {"Fn::GetAtt": ["FunctionRole", "Arn"]},
        "Environment": {"Variables": variables},
        "KmsKeyArn": _if("HasKey", {"Ref": "KmsKey"}),
        "VpcConfig": _if("InVpc", network),
        "Tracing": {"Fn::If": ["Traced", "Active", "PassThrough"]},
    }
    logs = f"{logical(name)}Logs"
    return {
        logs: {"Type": "AWS::Logs::LogGroup", "Metadata": _skip("CKV_AWS_158"), "Properties": log},
        logical(name): {
            "Type": "AWS::Serverless::Function",
            "DependsOn": logs,
            "Metadata": _skip("CKV_AWS_115", "CKV_AWS_116", "CKV_AWS_117", "CKV_AWS_173"),
            "Properties": properties,
        },
    }
