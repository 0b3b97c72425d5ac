"""Train as a job on SageMaker: this repository's own module in the PyTorch image, on any number of instances.

Each job has its own stack with a bucket and a role, which is removed after the model is downloaded. On Ctrl-C
everything that was started on AWS is stopped first.
"""

import logging
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import yaml
from botocore.exceptions import ClientError, WaiterError
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

import stages
from stages.common import config, files, temporary
from stages.common.errors import InputError
from stages.common.models import bundle
from stages.common.vision import packaged
from stages.engine.aws.clients import account, agree, client, estimate, plain_errors
from stages.engine.aws.stack import Stack
from stages.engine.config import SageMaker

HERE = Path(__file__).parent
STAGES = HERE.parents[1]
TEMPLATE = HERE / "template.yaml"
REQUIREMENTS = HERE / "requirements.txt"
SCRIPT = HERE / "script.py"


class JobResources(NamedTuple):
    """A job's resources on AWS. ``name`` is the stack's name and the prefix of the job's name."""

    session: boto3.Session
    name: str
    bucket: str
    role: str


@contextmanager
def resources(session: boto3.Session, prefix: str) -> Iterator[JobResources]:
    """Create a stack with a bucket and a role for the duration of the block.

    Its name is ``prefix`` and a unique suffix. However the block ends, jobs of that name are stopped.
    """
    stack = Stack(session, f"{prefix}-{uuid.uuid4().hex[:8]}")
    try:
        print(stack.put(TEMPLATE.read_text(), {}), flush=True)
        found = stack.outputs()
        yield JobResources(session, stack.name, found["Bucket"], found["Role"])
    finally:
        removed = [*stop_jobs(session, stack.name), *stack.remove()]
        print("\n".join(f"removed: {line}" for line in removed), flush=True)


def stop_jobs(session: boto3.Session, name: str) -> list[str]:
    """Stop the training jobs whose names begin with ``name``, because running jobs cost money, and wait until they have ended."""
    sagemaker = client(session, "sagemaker")
    pages = sagemaker.get_paginator("list_training_jobs").paginate(NameContains=name)
    found = [job for page in pages for job in page["TrainingJobSummaries"]]
    running = [one["TrainingJobName"] for one in found if one["TrainingJobStatus"] in ("InProgress", "Stopping")]
    for job in running:
        print(f"stopping the training job {job}; this takes a minute or two", flush=True)
        try:
            sagemaker.stop_training_job(TrainingJobName=job)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationException":  # else it has ended in the meantime
                raise
        ended, every_10_s = sagemaker.get_waiter("training_job_completed_or_stopped"), {"Delay": 10, "MaxAttempts": 60}
        with suppress(WaiterError):  # the waiter raises it for a failed job
            ended.wait(TrainingJobName=job, WaiterConfig=every_10_s)
    return [f"training job {job}, stopped" for job in running]


def stage_code(folder: Path, project: str) -> None:
    """Fill ``folder`` with the code of a job, the parameters of ``project``, and the files of weights that they name."""
    wanted = shutil.ignore_patterns("__pycache__", "stand_in", "functions")
    for package in ("common", "engine", project):
        shutil.copytree(STAGES / package, folder / "stages" / package, ignore=wanted)
    shutil.copy(STAGES / "__init__.py", folder / "stages")
    together = {"engine": {"portable": stages.portable()}, project: _with_weights(config.read()[project], folder)}
    (folder / "params.yaml").write_text(yaml.safe_dump(together), encoding="utf-8")
    shutil.copy(REQUIREMENTS, folder / "requirements.txt")


def _with_weights(value: Any, folder: Path) -> Any:
    """Copy the files of weights in ``value`` to ``folder``. Returns the parameters with the paths of the copies."""
    if isinstance(value, list):
        return [_with_weights(one, folder) for one in value]
    if not isinstance(value, dict):
        return value
    found = {name: _with_weights(one, folder) for name, one in value.items()}
    weights = files.home() / Path(str(found.get("weights"))).expanduser()
    if "weights" in found and found["weights"] not in packaged.NAMED and weights.is_file():
        found["weights"] = f"{files.digest(weights)[:16]}.pth"
        shutil.copy(weights, folder / found["weights"])
    return found


def job(where: JobResources, settings: SageMaker, image: str, **own: Any) -> Any:
    """Return a ModelTrainer, ready to start, on the instances of ``settings``. ``own`` are further arguments for it."""
    from sagemaker.core.helper.session_helper import Session  # takes 1.5 s, like the rest of SageMaker's SDK
    from sagemaker.core.shapes import OutputDataConfig, StoppingCondition
    from sagemaker.core.training.configs import Compute
    from sagemaker.train.model_trainer import ModelTrainer

    os.environ["SAGEMAKER_VALIDATE_ROLE"] = "false"  # the role is the stack's own
    # Otherwise the SDK reports each call to AWS.
    quiet = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}
    return ModelTrainer(
        sagemaker_session=Session(where.session, default_bucket=where.bucket, sagemaker_config=quiet),
        role=where.role,
        base_job_name=where.name,
        training_image=image,
        compute=Compute(instance_type=settings.instance_type, instance_count=settings.instance_count),
        output_data_config=OutputDataConfig(s3_output_path=f"s3://{where.bucket}/models"),
        stopping_condition=StoppingCondition(max_runtime_in_seconds=3600 * settings.max_hours),
        **own,
    )


def trainer(where: JobResources, settings: SageMaker, code: Path) -> Any:
    """Return a job that runs SCRIPT of the staged ``code`` with torchrun on each instance.

    Raises InputError without an image.
    """
    from sagemaker.core import image_uris
    from sagemaker.core.training.configs import SourceCode
    from sagemaker.train.distributed import Torchrun

    kind, region = settings.instance_type, where.session.region_name
    try:
        image = image_uris.retrieve(
            "pytorch", region=region, version=settings.pytorch, instance_type=kind, image_scope="training"
        )
    except ValueError as error:
        raise InputError(f"engine.sagemaker.pytorch = {settings.pytorch!r} is not available: {error}") from None
    script = SCRIPT.relative_to(STAGES.parent).as_posix()
    source = SourceCode(source_dir=str(code), entry_script=script, requirements=REQUIREMENTS.name)
    return job(where, settings, image, source_code=source, distributed=Torchrun())


def inputs(features: Path) -> list[Any]:
    """Return the folder ``features`` as the job's channel of that name. It is uploaded when the job starts."""
    from sagemaker.core.training.configs import InputData

    return [InputData(channel_name="features", data_source=str(features))]


YOUNG = retry_if_exception(lambda error: isinstance(error, ClientError) and "assume" in str(error))
"""Whether SageMaker says so of a role, which was created only a moment ago."""


@retry(retry=YOUNG, stop=stop_after_delay(60), wait=wait_fixed(5), reraise=True)
def start(trainer: Any, inputs: list[Any]) -> str:
    """Run the job with its ``inputs`` to its end.

    Returns its model's URL in S3. Raises InputError unless the job completes.
    """
    from sagemaker.core.utils.exceptions import FailedStatusError

    trainer.train(inputs, wait=False, logs=False)
    done = trainer._latest_training_job
    if done is None:  # the SDK swallows Ctrl-C
        raise KeyboardInterrupt
    with suppress(FailedStatusError):
        done.wait()  # no logs: the SDK's client for them uses neither this session nor its region
    if done.training_job_status != "Completed":
        words = [done.training_job_status, done.secondary_status, done.failure_reason]
        raise InputError(
            f"the training job {done.training_job_name} ended: {', '.join(word for word in words if word and isinstance(word, str))}; "
            "see its output in CloudWatch's log group /aws/sagemaker/TrainingJobs; engine.sagemaker.max_hours limits its time"
        )
    return str(done.model_artifacts.s3_model_artifacts)


def fetch(session: boto3.Session, model: str, folder: Path) -> None:
    """Download SCRIPT's results from the job's archive at ``model`` to ``folder``."""
    bucket, key = model.removeprefix("s3://").split("/", 1)
    with temporary.folder("job") as scratch:
        archive = scratch / "model.tar.gz"
        client(session, "s3").download_file(bucket, key, str(archive))
        bundle.unpack(archive, scratch / "model")
        shutil.copytree(scratch / "model/trained", folder, dirs_exist_ok=True)


def plan(settings: SageMaker, region: str) -> str:
    """Return a description of what a job does in an account and what it costs at most."""
    hours = settings.max_hours
    return (
        f"This trains on SageMaker in your AWS account, region {region}, with a bucket and a role that are removed afterwards, and\n"
        f"{estimate(settings.instance_type, settings.instance_count, region, hours, f'{hours} h, after which it is stopped')}"
    )


@plain_errors()
def train(project: str, settings: SageMaker, features: Path, folder: Path) -> None:
    """Train ``project`` on its ``features`` as a job on SageMaker and write the results to ``folder``.

    In a terminal it asks for confirmation first. Elsewhere `engine.kind` is the confirmation, because DVC cannot pass `--yes`.
    """
    import sagemaker.train  # noqa: F401  (fails on a missing package before anything is created on AWS)

    logging.getLogger("sagemaker").setLevel(logging.WARNING)
    session = account(settings.region, "engine.sagemaker.region")
    agree(plan(settings, session.region_name), not sys.stdin.isatty(), "")
    with resources(session, settings.stack) as where, temporary.folder("job") as code:
        stage_code(code, project)
        model = start(trainer(where, settings, code), inputs(features))
        fetch(session, model, folder)
