"""Training as a job on SageMaker: what is sent is checked on the stand-in, and what is staged is run, without a container."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import fsspec
import numpy as np
import pytest
import yaml
from conftest import ROOT, Change
from sagemaker.core.telemetry import telemetry_logging
from small_photographs import contents

from stages.common import config, files
from stages.common.errors import InputError
from stages.engine.aws import clients
from stages.engine.aws.buckets import keys
from stages.engine.aws.clients import client
from stages.engine.aws.stack import Stack
from stages.engine.config import Engine, SageMaker
from stages.engine.sagemaker import job
from stages.engine.sagemaker.job import JobResources, resources
from stages.scones import built_in, layout, model, train
from stages.scones.aws.stand_in import local
from stages.scones.layout import Entry


@pytest.fixture(scope="module")
def session() -> Iterator[boto3.Session]:
    with local.stand_in("eu-west-1") as session:
        yield session


@pytest.fixture
def where(session: boto3.Session) -> Iterator[JobResources]:
    with resources(session, "training") as where:
        yield where


@pytest.fixture
def settings(change: Change) -> SageMaker:
    """A tiny training, and its features."""
    network = {"image_size": 32, "width": 4, "depth": 1, "dropout": 0.0, "weights": "none"}
    change({"scones.epochs": 1, "scones.batch_size": 8, "scones.precision": "float32", "scones.residual": network})
    job_of = {"engine.sagemaker.instance_type": "ml.c5.xlarge", "engine.sagemaker.instance_count": 2}
    change({"engine.kind": "sagemaker"} | job_of)
    train.FEATURES.mkdir(parents=True)
    for part, count in (("train", 16), ("valid", 8)):
        images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)
        np.savez(train.FEATURES / f"{part}.npz", images=images, labels=np.arange(count) % 2)
    files.write_json(train.FEATURES / "about.json", {"source": "a test", "classes": ["bicycle", "motorcycle"]})
    return config.load("engine", Engine).sagemaker


def described(where: JobResources) -> dict[str, Any]:
    """The newest training job, as SageMaker describes it."""
    sagemaker = client(where.session, "sagemaker")
    jobs = sagemaker.list_training_jobs()["TrainingJobSummaries"]
    newest = max(jobs, key=lambda summary: summary["CreationTime"])["TrainingJobName"]
    found: dict[str, Any] = sagemaker.describe_training_job(TrainingJobName=newest)
    return found


def channels(job: dict[str, Any]) -> dict[str, str]:
    return {one["ChannelName"]: one["DataSource"]["S3DataSource"]["S3Uri"] for one in job["InputDataConfig"]}


def test_a_job_trains_from_the_staged_code_and_returns_its_model(
    settings: SageMaker, where: JobResources, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    monkeypatch.setattr(telemetry_logging, "_send_telemetry_request", lambda *event: told.append(event))
    code = tmp_path / "code"
    code.mkdir()
    job.stage_code(code, "scones")
    url = job.start(job.trainer(where, settings, code), job.inputs(train.FEATURES))
    assert not told
    found = described(where)
    assert found["TrainingJobName"].startswith(f"{where.name}-")
    assert found["ResourceConfig"]["InstanceCount"] == 2
    assert found["ResourceConfig"]["InstanceType"] == "ml.c5.xlarge"
    assert found["RoleArn"] == where.role
    assert "pytorch-training:2.6.0-cpu" in found["AlgorithmSpecification"]["TrainingImage"]
    assert {"features", "code", "sm_drivers"} == set(channels(found))

    instance = tmp_path / "instance"  # finds them under /opt/ml/input/data
    storage = fsspec.filesystem("s3", skip_instance_cache=True)
    for name, source in channels(found).items():
        storage.get(source.rstrip("/"), str(instance / name), recursive=True)
    assert "torchrun_driver.py" in (instance / "sm_drivers" / "sm_train.sh").read_text()
    script = files.read_json(instance / "sm_drivers" / "sourcecode.json")["entry_script"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", script]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "SM_CHANNEL_FEATURES": str(instance / "features"),
        "SM_MODEL_DIR": str(instance / "model"),
    }
    done = subprocess.run(torchrun, cwd=instance / "code", env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.add(instance / "model", ".")
    bucket, key = url.removeprefix("s3://").split("/", 1)
    client(where.session, "s3").upload_file(str(tmp_path / "model.tar.gz"), bucket, key)
    job.fetch(where.session, url, model.TRAINED)
    assert contents(model.TRAINED) == contents(instance / "model" / "trained")
    model.load()
    assert files.read_json(model.TRAINED / "training.json")["seconds"] > 0


def test_a_job_gets_the_code_of_this_repository_and_files_of_weights(
    settings: SageMaker, workspace: Path, change: Change, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("code")
    (workspace / "mobile.pth").write_bytes(b"weights")
    change({"scones.transfer.weights": "mobile.pth"})
    job.stage_code(folder, "scones")
    parameters = yaml.safe_load((folder / "params.yaml").read_text())
    assert (folder / parameters["scones"]["transfer"]["weights"]).read_bytes() == b"weights"
    for path in (folder / "stages").rglob("*.py"):
        assert path.read_bytes() == (ROOT / path.relative_to(folder)).read_bytes()


def test_the_built_in_algorithm_s_job_is_the_published_one(
    settings: SageMaker, where: JobResources, tmp_path: Path
) -> None:
    entries = [Entry(row, row % 2, f"vehicle_{row}.png") for row in range(4)]
    for part in layout.PARTS:
        layout.write(tmp_path, part, [(entry, np.zeros((32, 32, 3), np.uint8)) for entry in entries])
    built_in.upload(where, tmp_path)
    instance = settings.model_copy(update={"instance_type": "ml.p3.2xlarge", "instance_count": 1})
    job.start(built_in.trainer(where, instance, 2, 1000, 48), built_in.inputs(where.bucket))
    found = described(where)
    assert found["HyperParameters"] == {"image_shape": "3,48,48", "num_classes": "2", "num_training_samples": "1000"}
    assert found["ResourceConfig"]["InstanceType"] == "ml.p3.2xlarge"
    assert "/image-classification:1" in found["AlgorithmSpecification"]["TrainingImage"]
    assert {one["ContentType"] for one in found["InputDataConfig"]} == {"application/x-image"}
    data = f"s3://{where.bucket}/data"
    assert channels(found) == {
        "train": f"{data}/train/",
        "validation": f"{data}/test/",
        "train_lst": f"{data}/train.lst",
        "validation_lst": f"{data}/test.lst",
    }
    there = {entry["Key"] for entry in keys(where.session, where.bucket, "data/")}
    assert {"data/train.lst", "data/test.lst", "data/train/vehicle_0.png"} <= there


def test_the_bucket_and_the_role_are_gone_after_the_job_and_another_job_s_are_not(session: boto3.Session) -> None:
    with resources(session, "training") as other:
        with resources(session, "training") as where:
            client(session, "s3").put_object(Bucket=where.bucket, Key="left", Body=b"behind")
        assert [bucket["Name"] for bucket in client(session, "s3").list_buckets()["Buckets"]] == [other.bucket]
    assert not client(session, "s3").list_buckets()["Buckets"]
    assert not client(session, "iam").list_roles()["Roles"]


class Running:
    """SageMaker, as far as it is asked about training jobs: they are in progress until they are stopped."""

    def __init__(self, end: tuple[str, str] | None = None) -> None:
        self.status, self.looks, self.stopped, self.end = "InProgress", 0, list[str](), end
        self.buckets: list[str] = []
        self.session = boto3.Session()
        for name, change in (("DescribeTrainingJob", self.described), ("ListTrainingJobs", self.listed)):
            self.session.events.register(f"after-call.sagemaker.{name}", change)
        self.session.events.register("before-call.sagemaker.StopTrainingJob", self.stop)

    def described(self, parsed: dict[str, Any], **_: Any) -> None:
        self.looks += 1
        if self.end:
            self.status, parsed["SecondaryStatus"] = self.end
        elif self.looks == 2:  # while it is waited for
            raise KeyboardInterrupt
        parsed["TrainingJobStatus"] = self.status

    def listed(self, parsed: dict[str, Any], **_: Any) -> None:
        for summary in parsed["TrainingJobSummaries"]:
            summary["TrainingJobStatus"] = self.status

    def stop(self, params: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        self.status = "Stopped"
        self.stopped.append(json.loads(params["body"])["TrainingJobName"])
        self.buckets = [bucket["Name"] for bucket in client(self.session, "s3").list_buckets()["Buckets"]]
        return SimpleNamespace(status_code=200), {"ResponseMetadata": {"HTTPStatusCode": 200}}


def test_ctrl_c_stops_the_job_before_its_bucket_is_removed(settings: SageMaker, session: boto3.Session) -> None:
    running = Running()
    with pytest.raises(KeyboardInterrupt), resources(running.session, "training") as where:
        job.start(built_in.trainer(where, settings, 2, 16, 32), built_in.inputs(where.bucket))
    assert [name.startswith(f"{where.name}-") for name in running.stopped] == [True]
    assert running.buckets == [where.bucket]
    assert Stack(session, where.name).status() is None


def test_a_job_that_exceeds_its_time_limit_is_reported(settings: SageMaker, session: boto3.Session) -> None:
    running = Running(end=("Stopped", "MaxRuntimeExceeded"))
    with (
        resources(running.session, "training") as where,
        pytest.raises(InputError, match=r"ended: Stopped, MaxRuntimeExceeded.*engine.sagemaker.max_hours"),
    ):
        job.start(built_in.trainer(where, settings, 2, 16, 32), built_in.inputs(where.bucket))


def test_a_price_is_shown_and_confirmed_before_a_job(
    settings: SageMaker,
    session: boto3.Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: "no")
    with pytest.raises(InputError, match="nothing was changed"):
        job.train("scones", settings, train.FEATURES, tmp_path)
    assert (
        "2 x ml.c5.xlarge: about 0.41 USD per hour, 0.41 USD in 1 h, after which it is stopped"
        in capsys.readouterr().out
    )
    assert not client(session, "s3").list_buckets()["Buckets"]


def test_the_sdk_s_own_clients_have_time_limits(session: boto3.Session) -> None:
    limits = clients.account("eu-west-1", "a.region").client("sagemaker").meta.config
    assert (limits.connect_timeout, limits.read_timeout, limits.retries["mode"]) == (5, 65, "standard")


def test_a_version_without_an_image_is_reported_in_one_line(
    settings: SageMaker, where: JobResources, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"engine.sagemaker.pytorch = '0.0.1' is not available"):
        job.trainer(where, settings.model_copy(update={"pytorch": "0.0.1"}), tmp_path)
