"""Deploy to AWS, or to AWS_ENDPOINT_URL: the files that the stack is made from, the stack, the test pictures."""

import hashlib
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import boto3

from stages.common import files
from stages.common.errors import InputError
from stages.engine.aws.buckets import delete, keys
from stages.engine.aws.clients import client
from stages.engine.aws.stack import Stack
from stages.scones.aws import artifacts, own_template
from stages.scones.aws.artifacts import Artifact
from stages.scones.aws.functions import drift
from stages.scones.config import WorkflowSettings
from stages.scones.feedback.properties import Pixels, properties

TEST = "test/"
"""Prefix of the test pictures in the bucket."""

CAPTURED = "data_capture/"
"""Prefix that the template sets for the endpoint's captured requests."""

MODEL = "model"
"""The template's name for the variant with the exported model."""

CHALLENGER = "challenger"
"""The template's name for the optional second variant."""

OWN = "-own"
"""Suffix of the name of the stack with a user's own workflow."""


@dataclass(frozen=True)
class Deployed:
    """Names and ARNs of the deployed resources. ``done`` has a line per action. ``home`` is the bucket of the artifacts."""

    home: str
    bucket: str
    workflow: str
    fan_out: str
    endpoint: str
    topic: str
    done: list[str]


def on_graviton(settings: WorkflowSettings) -> bool:
    """Return whether the endpoint's instances have AWS's ARM processors: m7g, c6gd, but not g5."""
    return not settings.serverless and re.match(r"ml\.[a-z]+\d+g[a-z]*\.", settings.instance_type) is not None


def inference_image(region: str, settings: WorkflowSettings) -> str:
    """Return the URI of the image that serves the model: your own, or SageMaker's for PyTorch. Raise InputError if there is none."""
    if settings.image:
        return settings.image
    from sagemaker.core import image_uris  # takes 1.5 s

    kind = "ml.m5.large" if settings.serverless else settings.instance_type
    if on_graviton(settings):
        kind = "ml.c7g.large"  # sagemaker-core returns the wrong image, Intel's, for newer ones (m7g, r8g)
    try:
        uri: str = image_uris.retrieve(
            "pytorch", region=region, version=settings.pytorch, instance_type=kind, image_scope="inference"
        )
    except ValueError as error:
        where = f"in region {region} for {settings.instance_type}"
        raise InputError(f"deploy.scones.pytorch = {settings.pytorch!r} is not available {where}: {error}") from None
    return uri


def repository(image: str) -> str:
    """Return the name of the repository in an image's URI, `account.dkr.ecr.region.amazonaws.com/name:tag` or `...name@digest`."""
    return image.partition("/")[2].partition("@")[0].partition(":")[0]


def compared_with(training: Pixels, tests: Iterable[bytes]) -> bytes:
    """Return the reference for the function `watch`: properties and side of the training pictures, and digests of the ``tests``."""
    content = {
        "side": training.shape[1],
        "training": {name: sorted(values.round(4).tolist()) for name, values in properties(training).items()},
        "tests": sorted(map(drift.digest, tests)),
    }
    return json.dumps(content, separators=(",", ":")).encode()


def parts(archive: Path, settings: WorkflowSettings, training: bytes = b"") -> dict[str, Artifact]:
    """Return all objects that the template names, by its parameters. Raise InputError if a model is missing.

    ``training`` is the result of `compared_with`; without it drift is not measured on AWS.
    """
    files.require(archive, "export@scones")
    found = {**artifacts.of_the_workflow(), "ModelKey": artifacts.named("model.tar.gz", archive.read_bytes())}
    if training:
        found["TrainingKey"] = artifacts.named("training.json", training)
    if settings.challenger:
        challenger = files.home() / Path(settings.challenger.archive).expanduser()
        if not challenger.is_file():
            raise InputError(f"deploy.scones.challenger.archive: found no file {challenger}, expected a model.tar.gz")
        found["ChallengerKey"] = artifacts.named("challenger.tar.gz", challenger.read_bytes())
    return found


def count_classes(archive: Path) -> int:
    """Return the number of classes of the TorchScript model in ``archive``, 0 if there is no such model."""
    with tarfile.open(archive) as tar:
        if "model.pt" not in tar.getnames():
            return 0
        packed = tar.extractfile("model.pt")
        assert packed is not None  # it is a regular file: export has written it
        with zipfile.ZipFile(io.BytesIO(packed.read())) as model:  # TorchScript files are zip files
            (name,) = (one for one in model.namelist() if one.endswith("/extra/classes.json"))
            return len(json.loads(model.read(name)))


def parameters(
    bucket: str, objects: Mapping[str, Artifact], image: str, classes: int, settings: WorkflowSettings
) -> dict[str, str]:
    """Return the template's parameters."""
    update, count = settings.update, settings.instance_count
    scaling, serverless = settings.scaling, settings.serverless
    return {
        "ArtifactBucket": bucket,
        "ChallengerKey": "",
        "TrainingKey": "",
        **{name: artifact.key for name, artifact in objects.items()},
        "ModelWeight": f"{settings.weight:g}",
        "ChallengerWeight": f"{settings.challenger.weight if settings.challenger else 0:g}",
        "InferenceImage": image,
        "ImageRepository": repository(image),
        "EndpointOn": "true",
        "InstanceType": settings.instance_type,
        "InstanceCount": str(count),
        "MaxInstanceCount": str(scaling.max_instances if scaling else count),
        "InvocationsPerMinute": str(scaling.invocations if scaling else 1),
        "ServerlessMemory": str(serverless.memory if serverless else 0),
        "ServerlessConcurrency": str(serverless.concurrency if serverless else 1),
        "TrafficShift": update.traffic.upper(),
        "ShiftInstances": str(max(1, min(count // 2, round(update.fraction * count)))),
        "ShiftSeconds": str(update.wait),
        "MaxErrorShare": f"{update.errors:g}",
        "MaxLatency": f"{update.latency * 1e6:.0f}",
        "Classes": str(classes),
        "EndpointTimeout": str(settings.endpoint_timeout),
        "LowConfidenceShare": f"{settings.low_confidence_share:g}",
        "CapturePercentage": str(settings.capture_percentage),
        "CaptureDays": str(settings.capture_days),
        "Email": settings.email or "",
        "DigestHours": str(settings.digest_hours),
        "WatchHours": str(settings.watch_hours or 0),
        "ExecuteUploads": str(settings.execute_uploads).lower(),
        **own_template.parameters(settings),
    }


def deploy(
    session: boto3.Session,
    archive: Path,
    pictures: Mapping[str, bytes],
    settings: WorkflowSettings,
    training: bytes = b"",
) -> Deployed:
    """Create or update everything that is not up to date. ``pictures`` are PNG files by name, ``training`` as for `parts`."""
    objects = parts(archive, settings, training)
    image = inference_image(session.region_name, settings)
    base = Stack(session, f"{settings.stack}-artifacts")
    done = [base.put(artifacts.ARTIFACTS_TEMPLATE.read_text(), {}, settings.tags, settings.protect)]
    home = base.outputs()["Bucket"]
    done.append(upload(session, home, dict(objects.values())))
    stack = Stack(session, settings.stack)
    wanted = parameters(home, objects, image, count_classes(archive), settings)
    former = stack.parameters()
    if former and bool(former.get("ChallengerKey")) != bool(wanted["ChallengerKey"]):
        wanted["TrafficShift"] = "ALL_AT_ONCE"  # SageMaker shifts step by step only between the same variants
    elif former.get("TrafficShift") and {**wanted, "TrafficShift": ""} == {**former, "TrafficShift": ""}:
        wanted["TrafficShift"] = former["TrafficShift"]  # it is no change by itself
    done.append(stack.put(artifacts.TEMPLATE.read_text(), wanted, settings.tags, settings.protect))
    found = stack.outputs()
    tests = {f"{TEST}{name}": content for name, content in pictures.items()}
    done.append(upload(session, found["Bucket"], tests, TEST))
    others = [{"Key": one["Key"]} for one in keys(session, found["Bucket"], TEST) if one["Key"] not in tests]
    if others:  # from an earlier test set
        delete(session, found["Bucket"], others)
        done.append(f"s3://{found['Bucket']}/{TEST}: {len(others)} other objects removed")
    return Deployed(home, found["Bucket"], found["Workflow"], found["FanOut"], found["Endpoint"], found["Topic"], done)


def upload(session: boto3.Session, bucket: str, objects: Mapping[str, bytes], prefix: str = "") -> str:
    """Upload those ``objects`` (all under ``prefix``) that are missing or have other content. Return a line about it."""
    there = {entry["Key"]: entry["ETag"].strip('"') for entry in keys(session, bucket, prefix)}
    missing = {
        key: content
        for key, content in objects.items()
        if there.get(key) != hashlib.md5(content, usedforsecurity=False).hexdigest()
    }
    s3 = client(session, "s3")
    for key, content in missing.items():
        s3.put_object(Bucket=bucket, Key=key, Body=content)
    return f"s3://{bucket}/{prefix}: {len(missing)} of {len(objects)} objects uploaded"


def stacks(session: boto3.Session, settings: WorkflowSettings) -> list[Stack]:
    """Return all stacks of a deployment, in the order of their removal."""
    return [Stack(session, f"{settings.stack}{suffix}") for suffix in (OWN, "", "-artifacts")]


def destroy(session: boto3.Session, settings: WorkflowSettings, keep_data: bool = False) -> list[str]:
    """Remove everything, except with ``keep_data`` the bucket of pictures and captured requests. Return a line for each removed thing."""
    found = stacks(session, settings)
    return [line for stack in found for line in stack.remove(keep_data and stack.name == settings.stack)]


def destroy_endpoint(session: boto3.Session, settings: WorkflowSettings) -> str:
    """Remove only the endpoint and its models, which cost most. The next deployment creates them again."""
    stack = Stack(session, settings.stack)
    former = stack.parameters()
    if not former:
        return "there was nothing to remove"
    return stack.put(stack.template(), {**former, "EndpointOn": "false"}, settings.tags, settings.protect)
