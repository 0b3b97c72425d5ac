"""Train SageMaker's own image-classification algorithm on the pictures, as the workflow's authors did, for comparison.

    python -m stages.scones.built_in [--yes]

It runs as a job on AWS. The model is an MXNet model for SageMaker's image of that algorithm and is downloaded to
models/scones/built_in/model.tar.gz. `engine.sagemaker` sets the region and the time limit. The algorithm trains only on a GPU, so the
instance is not the one of `engine.sagemaker`; the authors used `ml.p3.2xlarge`.
"""

import argparse
import logging
from pathlib import Path
from typing import Any

from stages.common import config, files
from stages.common.errors import InputError
from stages.common.program import requires, run
from stages.engine.aws.clients import account, agree, client, plain_errors
from stages.engine.config import Engine, SageMaker
from stages.engine.sagemaker.job import JobResources, job, plan, resources, start
from stages.scones import layout
from stages.scones.config import Data
from stages.scones.layout import PARTS

RAW = Path("data/scones/raw")
MODEL = Path("models/scones/built_in/model.tar.gz")

INSTANCE = "ml.g4dn.xlarge"
GPUS = ("ml.p2.", "ml.p3.", "ml.g4dn.", "ml.g5.")
"""Families on which the algorithm trains: https://docs.aws.amazon.com/sagemaker/latest/dg/image-classification.html"""

CHANNELS = {"train": "train/", "validation": "test/", "train_lst": "train.lst", "validation_lst": "test.lst"}
"""The algorithm's four inputs, each with its path in the published layout."""


def upload(where: JobResources, raw: Path) -> None:
    """Upload the pictures and their lists to the bucket, under `data/`."""
    s3 = client(where.session, "s3")
    for part in PARTS:
        for path in [raw / f"{part}.lst", *sorted((raw / part).glob("*.png"))]:
            s3.upload_file(str(path), where.bucket, f"data/{path.relative_to(raw).as_posix()}")


def inputs(bucket: str) -> list[Any]:
    """Return the four channels for the uploaded files."""
    from sagemaker.core.training.configs import InputData

    return [
        InputData(channel_name=name, data_source=f"s3://{bucket}/data/{path}", content_type="application/x-image")
        for name, path in CHANNELS.items()
    ]


def trainer(where: JobResources, settings: SageMaker, classes: int, pictures: int, side: int) -> Any:
    """Return the algorithm as a job that is ready to start, for ``pictures`` of ``side`` pixels a side."""
    from sagemaker.core import image_uris

    image = image_uris.retrieve("image-classification", region=where.session.region_name)
    # Those without a default: https://docs.aws.amazon.com/sagemaker/latest/dg/IC-Hyperparameter.html
    own = {"image_shape": f"3,{side},{side}", "num_classes": str(classes), "num_training_samples": str(pictures)}
    return job(where, settings, image, hyperparameters=own)


@plain_errors()
def main(yes: bool = False, instance_type: str = INSTANCE) -> None:
    if not instance_type.startswith(GPUS):
        raise InputError(
            f"--instance-type {instance_type} is not allowed: the algorithm trains only on {', '.join(GPUS)}*"
        )
    with requires("aws", "SageMaker's built-in algorithm"):
        import sagemaker.train  # noqa: F401  (fails on a missing package before anything is created on AWS)
    logging.getLogger("sagemaker").setLevel(logging.WARNING)
    settings = config.load("engine", Engine).sagemaker.model_copy(update={"instance_type": instance_type})
    classes = files.read_json(files.require(RAW, "prepare@scones") / "about.json")["classes"]
    pictures = len(layout.read_list(RAW, "train", classes))
    side = config.load("data.scones", Data).side
    session = account(settings.region, "engine.sagemaker.region")
    agree(plan(settings, session.region_name), yes, "python -m stages.scones.built_in")
    with resources(session, settings.stack) as where:
        upload(where, RAW)
        model = start(trainer(where, settings, len(classes), pictures, side), inputs(where.bucket))
        bucket, key = model.removeprefix("s3://").split("/", 1)
        with files.new_file(MODEL) as partial:
            client(session, "s3").download_file(bucket, key, str(partial))
    print(f"The model is in {MODEL}")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--instance-type", default=INSTANCE, help="with a GPU (default: %(default)s)")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")


if __name__ == "__main__":
    run(main, arguments)
