"""Training as a job on SageMaker: this repository's own module in the PyTorch image, on any number of instances.

A job brings its bucket and its role along, as a stack that is removed when the model is back.
"""

import logging
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import yaml
from botocore.exceptions import ClientError
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from stages.common import files
from stages.common.program import InputError
from stages.scones.aws.clients import account, client, plain_errors
from stages.scones.aws.stack import Stack
from stages.scones.config import SageMaker, Train

HERE = Path(__file__).parent
STAGES = HERE.parents[1]
TEMPLATE = HERE / "template.yaml"
REQUIREMENTS = HERE / "requirements.txt"
SCRIPT = HERE / "script.py"
WEIGHTS = "weights.pth"

MISSING_ROLE = "assume"
"""In what SageMaker says of a role that was made a moment ago."""


class Place(NamedTuple):
    """What jobs of an account work with."""

    session: boto3.Session
    bucket: str
    role: str


@contextmanager
def place(session: boto3.Session, name: str) -> Iterator[Place]:
    """The stack ``name`` with a bucket and a role, for as long as the block lasts."""
    stack = Stack(session, name)
    print(f"stack {name}: {stack.put(TEMPLATE.read_text(), {})}")
    try:
        found = stack.outputs()
        yield Place(session, found["Bucket"], found["Role"])
    finally:
        print("\n".join(f"removed: {line}" for line in stack.remove()))


def stage_code(folder: Path, settings: Train) -> None:
    """Fill ``folder`` with what a job runs: the modules, the parameters, the weights that training begins with."""
    wanted = shutil.ignore_patterns("__pycache__", "stand_in", "functions")
    for package in ("common", "scones"):
        shutil.copytree(STAGES / package, folder / "stages" / package, ignore=wanted)
    shutil.copy(STAGES / "__init__.py", folder / "stages")
    parameters = settings.model_dump()
    if settings.network == "transfer" and settings.transfer.weights not in ("torchvision", "none"):
        shutil.copy(files.home() / Path(settings.transfer.weights).expanduser(), folder / WEIGHTS)
        parameters["transfer"]["weights"] = WEIGHTS
    (folder / "params.yaml").write_text(yaml.safe_dump({"scones": parameters}), encoding="utf-8")
    shutil.copy(REQUIREMENTS, folder / "requirements.txt")


def job(where: Place, settings: SageMaker, name: str, image: str, **own: Any) -> Any:
    """A ModelTrainer, ready to start, on the instances of ``settings``; ``own`` are further arguments of its."""
    from sagemaker.core.helper.session_helper import Session  # 1.5 s, as what else is of SageMaker's SDK
    from sagemaker.core.shapes import OutputDataConfig, StoppingCondition
    from sagemaker.core.training.configs import Compute
    from sagemaker.train.model_trainer import ModelTrainer

    os.environ["SAGEMAKER_VALIDATE_ROLE"] = "false"  # the role is the stack's own
    return ModelTrainer(
        sagemaker_session=Session(where.session, default_bucket=where.bucket),
        role=where.role,
        base_job_name=name,
        training_image=image,
        compute=Compute(instance_type=settings.instance_type, instance_count=settings.instance_count),
        output_data_config=OutputDataConfig(s3_output_path=f"s3://{where.bucket}/models"),
        stopping_condition=StoppingCondition(max_runtime_in_seconds=3600 * settings.max_hours),
        **own,
    )


def trainer(where: Place, settings: SageMaker, code: Path) -> Any:
    """SCRIPT of the staged ``code`` as a job, under torchrun on each instance."""
    from sagemaker.core import image_uris
    from sagemaker.core.training.configs import SourceCode
    from sagemaker.train.distributed import Torchrun

    image = image_uris.retrieve(
        "pytorch",
        region=where.session.region_name,
        version=settings.pytorch,
        instance_type=settings.instance_type,
        image_scope="training",
    )
    script = SCRIPT.relative_to(STAGES.parent).as_posix()
    source = SourceCode(source_dir=str(code), entry_script=script, requirements=REQUIREMENTS.name)
    return job(where, settings, "scones", image, source_code=source, distributed=Torchrun())


def inputs(features: Path) -> list[Any]:
    """The folder ``features`` as the job's channel of that name; it is uploaded when the job starts."""
    from sagemaker.core.training.configs import InputData

    return [InputData(channel_name="features", data_source=str(features))]


def _young(error: BaseException) -> bool:
    return isinstance(error, ClientError) and MISSING_ROLE in str(error)


@retry(retry=retry_if_exception(_young), stop=stop_after_delay(60), wait=wait_fixed(5), reraise=True)
def start(trainer: Any, inputs: list[Any]) -> str:
    """Run the job with its ``inputs`` to its end; the place of its model in S3. Raises InputError if it fails."""
    from sagemaker.core.utils.exceptions import FailedStatusError

    try:
        trainer.train(inputs)
    except FailedStatusError as error:
        raise InputError(f"the training job on SageMaker failed: {error}") from error
    done = trainer._latest_training_job
    done.refresh()
    return str(done.model_artifacts.s3_model_artifacts)


def fetch(session: boto3.Session, model: str, trained: Path, clock: Path) -> None:
    """Bring back what SCRIPT wrote, from the job's archive at ``model``."""
    bucket, key = model.removeprefix("s3://").split("/", 1)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "model.tar.gz")
        client(session, "s3").download_file(bucket, key, str(archive))
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(Path(folder, "model"), filter="data")  # no path leaves the folder
        with files.new_folder(trained) as partial:
            shutil.copytree(Path(folder, "model", "trained"), partial, dirs_exist_ok=True)
        files.write_json(clock, files.read_json(Path(folder, "model", "training.json")))


@plain_errors()
def train_there(settings: Train, features: Path, trained: Path, clock: Path) -> None:
    """The training that ``settings`` describe, on SageMaker; its results are where this machine's would be."""
    logging.getLogger("sagemaker").setLevel(logging.WARNING)
    session = account(settings.sagemaker.region, "scones.sagemaker.region")
    count = f"{settings.sagemaker.instance_count} x {settings.sagemaker.instance_type}"
    print(f"training on SageMaker in region {session.region_name}, on {count}, charged by the second")
    with place(session, settings.sagemaker.stack) as where, tempfile.TemporaryDirectory() as code:
        stage_code(Path(code), settings)
        model = start(trainer(where, settings.sagemaker, Path(code)), inputs(features))
        fetch(session, model, trained, clock)
