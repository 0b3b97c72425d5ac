"""Deploy to AWS, or to AWS_ENDPOINT_URL: the files that the stack is made from, the stack, the test pictures."""

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import boto3

from stages.common import files
from stages.common.errors import InputError
from stages.engine.aws.clients import client
from stages.engine.aws.stack import Stack, delete, keys
from stages.scones.aws import artifacts
from stages.scones.aws.artifacts import Artifact
from stages.scones.config import WorkflowSettings

TEST = "test/"
"""Prefix of the test pictures in the bucket."""

CAPTURED = "data_capture/"
"""Prefix that the template sets for the endpoint's captured requests."""

MODEL = "model"
"""The template's name for the variant with the exported model."""

CHALLENGER = "challenger"
"""The template's name for the optional second variant."""


@dataclass(frozen=True)
class Deployed:
    """Names and ARNs of what is deployed. ``done`` has a line for each action."""

    bucket: str
    workflow: str
    fan_out: str
    endpoint: str
    topic: str
    done: list[str]


def inference_image(region: str, settings: WorkflowSettings) -> str:
    """Return the URI of SageMaker's PyTorch inference image in ``region``. Raise InputError if there is none."""
    from sagemaker.core import image_uris  # takes 1.5 s

    try:
        uri: str = image_uris.retrieve(
            "pytorch",
            region=region,
            version=settings.pytorch,
            instance_type=settings.instance_type,
            image_scope="inference",
        )
    except ValueError as error:
        raise InputError(
            f"deploy.scones.pytorch = {settings.pytorch!r} is not available in region {region} for {settings.instance_type}: {error}"
        ) from None
    return uri


def parts(archive: Path, settings: WorkflowSettings) -> dict[str, Artifact]:
    """Return all objects that the template names, by its parameters. Raise InputError if a model is missing."""
    files.require(archive, "export@scones")
    found = {**artifacts.of_the_workflow(), "ModelKey": artifacts.named("model.tar.gz", archive.read_bytes())}
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
    return {
        "ArtifactBucket": bucket,
        "ChallengerKey": "",
        **{name: artifact.key for name, artifact in objects.items()},
        "ModelWeight": f"{settings.weight:g}",
        "ChallengerWeight": f"{settings.challenger.weight if settings.challenger else 0:g}",
        "InferenceImage": image,
        "InstanceType": settings.instance_type,
        "InstanceCount": str(settings.instance_count),
        "Classes": str(classes),
        "Threshold": f"{settings.threshold:g}",
        "EndpointTimeout": str(settings.endpoint_timeout),
        "LowConfidenceShare": f"{settings.low_confidence_share:g}",
        "CaptureDays": str(settings.capture_days),
        "Email": settings.email or "",
    }


def deploy(
    session: boto3.Session, archive: Path, pictures: Mapping[str, bytes], settings: WorkflowSettings
) -> Deployed:
    """Create or update everything; what is up to date stays untouched. ``pictures`` are PNG files by name."""
    objects = parts(archive, settings)
    image = inference_image(session.region_name, settings)
    base = Stack(session, f"{settings.stack}-artifacts")
    done = [f"stack {base.name}: {base.put(artifacts.ARTIFACTS_TEMPLATE.read_text(), {})}"]
    home = base.outputs()["Bucket"]
    done.append(_upload(session, home, {artifact.key: artifact.content for artifact in objects.values()}))
    stack = Stack(session, settings.stack)
    wanted = parameters(home, objects, image, count_classes(archive), settings)
    done.append(f"stack {stack.name}: {stack.put(artifacts.TEMPLATE.read_text(), wanted)}")
    found = stack.outputs()
    tests = {f"{TEST}{name}": content for name, content in pictures.items()}
    done.append(_upload(session, found["Bucket"], tests, TEST))
    others = [entry["Key"] for entry in keys(session, found["Bucket"], TEST) if entry["Key"] not in tests]
    if others:  # from an earlier test set
        delete(session, found["Bucket"], others)
        done.append(f"s3://{found['Bucket']}/{TEST}: {len(others)} other objects removed")
    return Deployed(found["Bucket"], found["Workflow"], found["FanOut"], found["Endpoint"], found["Topic"], done)


def _upload(session: boto3.Session, bucket: str, objects: Mapping[str, bytes], prefix: str = "") -> str:
    """Upload those of ``objects``, all under ``prefix``, that are missing or have other content. Return a line about it."""
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


def destroy(session: boto3.Session, settings: WorkflowSettings) -> list[str]:
    """Remove everything. Return a line for each thing that was removed."""
    return Stack(session, settings.stack).remove() + Stack(session, f"{settings.stack}-artifacts").remove()
