"""Before anything is created or removed on AWS: report the price and what is lost, and check image, quota and permissions."""

import json
from pathlib import Path
from typing import NamedTuple

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from stages.common.errors import InputError
from stages.engine.aws.clients import client, estimate
from stages.engine.aws.stack import Stack
from stages.scones.aws.deployment import inference_image, on_graviton, repository, stacks
from stages.scones.config import WorkflowSettings

COMMAND = "python -m stages.scones.deploy"

POLICY = Path(__file__).with_name("deployer_policy.json")
"""The permissions of the person who deploys: https://docs.aws.amazon.com/service-authorization/latest/reference/"""


class Finding(NamedTuple):
    """What a check has found: ``good`` is None if it could not be determined."""

    good: bool | None
    message: str


def end_of_patches(settings: WorkflowSettings) -> str:
    """Return a warning if the endpoint's image gets no security patches, else an empty text."""
    if settings.image:
        return ""
    # Then the support of PyTorch 2.6 ends, the last image with TorchServe. That of older ones ended earlier.
    image = f"SageMaker's inference image for PyTorch {settings.pytorch}"
    return f"{image} gets no security patches after 2026-06-30: set deploy.scones.image to your own image"


def image(session: boto3.Session, settings: WorkflowSettings) -> Finding:
    try:
        uri = inference_image(session.region_name, settings)
    except InputError as error:
        return Finding(False, str(error))
    if not settings.image:
        return Finding(True, f"{uri}; {end_of_patches(settings)}")
    registry, _, _, region, *_ = uri.split(".")
    if region != session.region_name:
        where = f"in region {region}, expected {session.region_name}"
        return Finding(False, f"{uri} is {where}: SageMaker pulls only from there")
    tag = uri.partition("/")[2].removeprefix(repository(uri))
    chosen = {"imageDigest": tag[1:]} if tag.startswith("@") else {"imageTag": tag[1:]}
    try:
        client(session, "ecr").describe_images(registryId=registry, repositoryName=repository(uri), imageIds=[chosen])
    except ClientError as error:
        code = error.response["Error"]["Code"]
        missing = code in ("RepositoryNotFoundException", "ImageNotFoundException")
        return Finding(False if missing else None, f"{uri}: {code}")
    needs = f"; {settings.instance_type} has ARM processors: it must be built for linux/arm64"
    return Finding(True, uri + (needs if on_graviton(settings) else ""))


def quota(session: boto3.Session, settings: WorkflowSettings) -> Finding:
    """Check that the account may have as many instances as an update needs: those of the former and of the new models."""
    name = f"{settings.instance_type} for endpoint usage"
    if settings.serverless:
        name = "Maximum number of serverless endpoints"
    most = settings.scaling.max_instances if settings.scaling else settings.instance_count
    needed = 1 if settings.serverless else most * (2 if settings.challenger else 1)
    try:
        pages = client(session, "service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
        found = [one["Value"] for page in pages for one in page["Quotas"] if one["QuotaName"] == name]
    except (ClientError, BotoCoreError) as error:
        return Finding(None, f"{name}: {error}")
    if not found:
        return Finding(None, f"{name}: not listed in {session.region_name}, where this type may not exist")
    if found[0] < needed:
        expected = f"expected at least {needed}: request an increase at Service Quotas"
        return Finding(False, f"{name}: {found[0]:g}, {expected}")
    if settings.serverless:
        return Finding(True, f"{name}: {found[0]:g}, needed {needed}")
    if found[0] < 2 * needed:
        update = f"an update needs {2 * needed}"
        return Finding(False, f"{name}: {found[0]:g} is enough to create the endpoint, but {update}")
    return Finding(True, f"{name}: {found[0]:g}, needed {2 * needed}")


def permissions(session: boto3.Session, settings: WorkflowSettings) -> Finding:
    """Ask IAM which actions of POLICY it would refuse, on any resource, except groups of those that only read."""
    statements = json.loads(POLICY.read_text())["Statement"]
    actions = sorted({action for one in statements for action in one["Action"] if "*" not in action})
    arn = client(session, "sts").get_caller_identity()["Arn"]
    if ":assumed-role/" in arn:
        account, role = arn.split(":")[4], arn.split("/")[1]
        arn = f"arn:{arn.split(':')[1]}:iam::{account}:role/{role}"
    try:
        pages = client(session, "iam").get_paginator("simulate_principal_policy")
        results = [
            (one["EvalDecision"], one["EvalActionName"])
            for start in range(0, len(actions), 50)
            for page in pages.paginate(PolicySourceArn=arn, ActionNames=actions[start : start + 50])
            for one in page["EvaluationResults"]
        ]
    except (ClientError, BotoCoreError) as error:
        return Finding(None, f"IAM does not tell what {arn} may do: {error}")
    denied, missing = (
        ", ".join(sorted(action for decision, action in results if decision == kind))
        for kind in ("explicitDeny", "implicitDeny")
    )
    if denied:
        return Finding(False, f"{arn} is denied {denied}")
    if missing:  # on all resources: a policy that names resources allows them, which this question does not see
        return Finding(None, f"{arn} may not do {missing} everywhere: {POLICY} has what is needed")
    return Finding(True, f"{arn} may do all {len(results)} actions")


def stack(session: boto3.Session, settings: WorkflowSettings) -> Finding:
    status = Stack(session, settings.stack).status()
    good = status is None or status.endswith("_COMPLETE")
    return Finding(good or None, f"{settings.stack}: {status or 'does not exist yet'}")


def plan(settings: WorkflowSettings, region: str) -> str:
    variants = 2 if settings.challenger else 1
    if settings.serverless:
        price = "A serverless endpoint costs nothing while it is idle. It captures no requests."
    else:
        price = estimate(settings.instance_type, variants * settings.instance_count, region, 24 * 30, "30 days")
    unpatched = end_of_patches(settings)
    return (
        f"This creates the stacks {settings.stack} and {settings.stack}-artifacts in your AWS account, region {region}: two buckets, five "
        f"functions, two state machines, an endpoint with {variants} model(s), two topics, alarms, their roles and logs.\n"
        f"{price}\n" + (f"warning: {unpatched}\n" if unpatched else "") + f"`{COMMAND} destroy` removes all of it."
    )


def losses(session: boto3.Session, settings: WorkflowSettings, keep_data: bool) -> str:
    """Return what `destroy` removes: the stacks, the number of their resources, and their buckets' contents."""
    lines = [f"This removes from region {session.region_name}:"]
    for stack in stacks(session, settings):
        if not (resources := stack.resources()):
            continue
        kept = keep_data and stack.name == settings.stack
        but = ", but not its bucket:" if kept else ""
        lines.append(f"- the stack {stack.name} with {len(resources)} resources{but}")
        for url, count, size in stack.contents():
            own_pictures = " (your own pictures)" if url.endswith("/pictures/") else ""
            lines.append(f"  {'keeps' if kept else 'with'} {url}: {count} objects, {size:,} bytes{own_pictures}")
    return "\n".join(lines)


def main(session: boto3.Session, settings: WorkflowSettings) -> None:
    """Print a line for each check, and the plan with its price. Raise InputError if one fails."""
    findings = {check.__name__: check(session, settings) for check in (image, quota, permissions, stack)}
    names = {True: "ok", False: "PROBLEM", None: "unknown"}
    print(f"ok       region: {session.region_name}")
    for what, one in findings.items():
        print(f"{names[one.good]:8} {what}: {one.message}")
    print(plan(settings, session.region_name))
    bad = [what for what, one in findings.items() if one.good is False]
    if bad:
        raise InputError(f"{len(bad)} problems: {', '.join(bad)}: see above; nothing was created")
