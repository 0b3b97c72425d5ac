"""The stage deploy: on this machine from beginning to end, the same on AWS, and nothing left behind when it is killed."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import boto3
import checkouts
import numpy as np
import psutil
import pytest
from botocore.exceptions import ClientError
from conftest import ROOT, Run, Started
from vehicles import archive, record, wait_until

from stages import check
from stages.common import files
from stages.common.errors import InputError
from stages.engine.aws.buckets import keys
from stages.engine.aws.clients import agree, client, estimate, plain_errors
from stages.engine.aws.stack import Stack
from stages.experiments.records.revisions import Revision
from stages.experiments.run import variant
from stages.scones import deploy, load
from stages.scones.aws import deployment, evaluated, trial
from stages.scones.aws.deployment import TEST
from stages.scones.aws.executions import Outcome, cases
from stages.scones.aws.stand_in import local
from stages.scones.config import workflow_settings
from stages.scones.feedback import captures

REDS = [*range(225, 256, 5), 0, 10, 120]
"""How red the test pictures are: of so many 255ths is the tiny model sure that they are of class 0."""


def set_parameters(**settings: Any) -> None:
    """Changes deploy.target and values of deploy.scones."""
    names = {name: "deploy.target" if name == "target" else f"deploy.scones.{name}" for name in settings}
    checkouts.set_parameters(Path("params.yaml"), {names[name]: value for name, value in settings.items()})


@pytest.fixture
def exported(workspace: Path) -> Path:
    """A project with an exported model, its test set and what evaluate said of it."""
    for folder in (evaluated.FEATURES, evaluated.EVALUATION):
        folder.mkdir(parents=True)
    images = np.zeros((len(REDS), 32, 32, 3), np.uint8)
    images[..., 0] = np.array(REDS)[:, None, None]
    names = np.array([f"vehicle_{red}.png" for red in REDS])
    labels = np.array([int(red < 128) for red in REDS])
    np.savez(evaluated.FEATURES / "test.npz", images=images, labels=labels, names=names)
    np.savez(evaluated.FEATURES / "train.npz", images=images)
    files.write_json(evaluated.FEATURES / "about.json", {"source": "a test", "classes": ["bicycle", "motorcycle"]})
    red = np.array(REDS) / 255
    np.save(evaluated.EVALUATION / "probabilities.npy", np.stack([red, 1 - red], 1).astype(np.float32))
    archive(evaluated.ARCHIVE.parent)
    set_parameters(executions=15, concurrency=3)
    return workspace


def test_the_stage_executes_the_workflow_on_this_machine_and_leaves_nothing(
    exported: Path, python: Run, started: Started
) -> None:
    done = python("-m", "stages.scones.deploy", cwd=exported)
    assert done.returncode == 0, done.stderr
    assert "each matches its confidence and has one captured record" in done.stdout
    chosen = cases([f"vehicle_{red}.png" for red in sorted(REDS, key=lambda red: f"vehicle_{red}.png")], 15, 0)
    sure = sum(max(red, 255 - red) / 255 >= 0.94 for red in (int(name[8:-4]) for name in chosen))
    counts = {"executions": 15, "succeeded": sure, "below_threshold": 15 - sure, "unknown": 0}
    expected = {"version": None, "data": "a test", **counts, "accuracy_succeeded": 1.0}
    assert files.read_json(deploy.REPORT) == expected
    assert 0 < sure < 15
    texts = [(path.name, path.read_text()) for path in sorted(deploy.CAPTURED.iterdir())]
    assert len(captures.read(texts).records) == 15
    measured = {"deploy_s", "first_execution_s", "executions_per_second", "execution_s"}
    assert set(Revision().latency("scones")) == measured
    assert not started()


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.Session]:
    """What the usual chain of credentials leads to, as far as the stage can tell."""
    with local.stand_in("eu-west-1") as session:
        yield session


def contents(session: boto3.Session, stack: str) -> tuple[Mapping[str, bytes], str, Mapping[str, str]]:
    """All that AWS was given: the artifacts by their keys, the template and its parameters."""
    home = Stack(session, f"{stack}-artifacts").outputs()["Bucket"]
    s3, cloudformation = client(session, "s3"), client(session, "cloudformation")
    names = [entry["Key"] for entry in keys(session, home)]
    objects = {name: s3.get_object(Bucket=home, Key=name)["Body"].read() for name in names}
    body = cloudformation.get_template(StackName=stack, TemplateStage="Original")["TemplateBody"]
    found = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["Parameters"]
    return objects, body, {one["ParameterKey"]: one["ParameterValue"].replace(home, "HOME") for one in found}


@pytest.mark.slow
def test_both_targets_deploy_the_same_bytes(
    exported: Path, account: boto3.Session, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_parameters(target="aws", executions=2, region="eu-west-1")
    deploy.main(yes=True)
    on_aws = contents(account, "scones")
    said = capsys.readouterr().out
    assert "1 x ml.m5.large: about 0.12 USD per hour" in said
    assert "region eu-west-1" in said
    assert account.region_name == "eu-west-1"

    deploy.main(yes=True)  # again: nothing changes
    said = capsys.readouterr().out
    assert said.count("unchanged") == 2
    assert said.count(": 0 of ") == 2

    set_parameters(target="local")  # what is there on AWS is there nevertheless
    deploy.main("destroy", yes=True, endpoint_only=True)
    kinds = {kind for kind, _ in Stack(account, "scones").resources()}
    assert not {kind for kind in kinds if kind.startswith("AWS::SageMaker::")}
    assert {"AWS::Lambda::Function", "AWS::S3::Bucket"} <= kinds
    bucket = Stack(account, "scones").outputs()["Bucket"]
    client(account, "s3").put_object(Bucket=bucket, Key="pictures/mine.png", Body=b"mine")
    capsys.readouterr()

    with pytest.raises(ClientError, match="TerminationProtection"):
        client(account, "cloudformation").delete_stack(StackName="scones")
    deploy.main("destroy", yes=True, keep_data=True)
    said = capsys.readouterr().out
    assert f"keeps s3://{bucket}/pictures/: 1 objects, 4 bytes (your own pictures)" in said
    assert "removed: AWS::Lambda::Function" in said
    assert Stack(account, "scones").status() is None
    assert len(list(keys(account, bucket))) > len(REDS)

    seen = []

    def look(session: boto3.Session, settings: Any) -> list[str]:
        seen.append(contents(session, settings.stack))
        return []

    monkeypatch.setattr(deployment, "destroy", look)
    deploy.main()
    assert seen == [on_aws]


def test_nothing_is_created_on_aws_without_confirmation(exported: Path, account: boto3.Session, python: Run) -> None:
    set_parameters(target="aws", region="eu-west-1")
    asked = python("-m", "stages.scones.deploy", cwd=exported, stdin=subprocess.DEVNULL)
    words = "nothing was changed: to agree, run `python -m stages.scones.deploy --yes` or run it in a terminal"
    assert (asked.returncode, asked.stderr) == (1, f"error: {words}\n")
    assert "USD per hour" in asked.stdout
    assert Stack(account, "scones-artifacts").status() is None
    gone = python("-m", "stages.scones.deploy", "destroy", "--yes", cwd=exported)
    assert "there was nothing to remove" in gone.stdout
    loaded = python("-m", "stages.scones.load", cwd=exported)
    assert "error: there is no stack scones" in loaded.stderr


@pytest.mark.slow
def test_a_kept_stand_in_is_used_and_stopped_as_printed(
    exported: Path, python: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_parameters(executions=2)
    done = python("-m", "stages.scones.deploy", "--keep", cwd=exported)
    assert done.returncode == 0, done.stderr
    for name, value in re.findall(r"^export (\w+)=(.*)$", done.stdout, re.M):
        monkeypatch.setenv(name, value)
    process = psutil.Process(int(done.stdout.partition("`kill ")[2].partition("`")[0]))
    assert all(f"- {line}" in done.stdout for line in local.NOT_SIMULATED)
    try:
        set_parameters(target="aws", low_confidence_share=0.5)
        updated = python("-m", "stages.scones.deploy", "--yes")
        assert "stack scones: updated" in updated.stdout, updated.stderr
        started = process.children(recursive=True)
        assert started
    finally:
        process.terminate()
        psutil.wait_procs([process], timeout=300)
    wait_until(lambda: not any(alive(one) for one in [process, *started]))


@pytest.mark.parametrize(
    ("program", "arguments", "words"),
    [
        (deploy, {"action": "destroy", "keep": True}, "--keep and --check belong to deploy"),
        (deploy, {"keep_data": True}, "--keep-data and --endpoint-only belong to destroy"),
        (deploy, {"action": "destroy", "keep_data": True, "endpoint_only": True}, "leave --keep-data out"),
        (load, {"executions": 0}, "--executions 0 is not allowed: expected 1 or more"),
        (load, {"executions": 1, "per_second": 0.0}, "--per-second 0 is not allowed: expected more than 0"),
        (load, {"executions": 1}, "model.tar.gz is missing: `dvc repro export@scones` makes it"),
    ],
)
def test_invalid_arguments_are_refused_in_one_line(
    workspace: Path, program: Any, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        program.main(**arguments)


@pytest.fixture
def no_region(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)


def test_a_missing_region_is_reported_before_any_stage_and_an_experiment_without_one_restores_only_its_target(
    workspace: Path, no_region: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "--quiet"], ["add", "params.yaml"], [*identity, "commit", "--quiet", "--message", "a"]):
        subprocess.run(["git", *command], check=True)
    committed = Path("params.yaml").read_bytes()
    set_parameters(target="aws")
    with pytest.raises(InputError, match="no AWS region is set: set deploy.scones.region or AWS_DEFAULT_REGION$"):
        check.main()  # `dvc repro`: the change is the user's own
    assert Path("params.yaml").read_bytes() != committed
    monkeypatch.setenv("DVC_EXP_NAME", "any")  # as DVC does for the stages of an experiment
    with pytest.raises(InputError, match="no AWS region is set.*params.yaml is as committed again$"):
        check.main()
    assert Path("params.yaml").read_bytes() == committed
    set_parameters(target="aws", executions=7)
    with pytest.raises(InputError, match="AWS_DEFAULT_REGION$"):
        check.main()
    assert workflow_settings().executions == 7
    with pytest.raises(InputError, match="no AWS region is set"):
        variant(["deploy.target=aws"])  # `make run`
    set_parameters(target="aws", region="eu-west-1")
    check.main()


@pytest.mark.parametrize("answer", ["n", "", EOFError()])
def test_an_unconfirmed_question_stops_the_deployment(monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", Mock(side_effect=[answer]))
    with pytest.raises(InputError, match="nothing was changed"):
        agree("This costs money.", yes=False, command="deploy")


def test_missing_credentials_and_a_missing_region_are_reported_in_one_line(
    exported: Path, no_region: None, python: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_parameters(target="aws")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for words in ("no AWS region is set", "Unable to locate credentials"):
        done = python("-m", "stages.scones.deploy", "--yes")
        assert done.returncode == 1
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


@pytest.mark.slow
@pytest.mark.parametrize("when", [pytest.param("stand-in starts", marks=pytest.mark.long), "executions run"])
def test_a_killed_stage_leaves_no_process_and_the_next_run_succeeds(exported: Path, python: Run, when: str) -> None:
    set_parameters(executions=200)
    command, environment = [sys.executable, "-m", "stages.scones.deploy"], {**os.environ, "PYTHONPATH": str(ROOT)}
    stage = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wanted = {"stand-in starts": 1, "executions run": 5}[when]  # then also functions and a model
    wait_until(lambda: len(psutil.Process(stage.pid).children(recursive=True)) >= wanted)
    wait_until(lambda: bool(listening(stage.pid)))
    started = psutil.Process(stage.pid).children(recursive=True)
    ports = listening(stage.pid)
    stage.send_signal(signal.SIGKILL)
    stage.wait()
    wait_until(lambda: not any(alive(process) for process in started))
    assert not {one.laddr.port for one in psutil.net_connections() if one.status == "LISTEN"} & ports
    assert not deploy.REPORT.exists()

    set_parameters(executions=3)
    assert python("-m", "stages.scones.deploy", cwd=exported).returncode == 0


def listening(pid: int) -> set[int]:
    """The ports of a process's children."""
    children = psutil.Process(pid).children(recursive=True)
    return {one.laddr.port for child in children for one in child.net_connections() if one.status == "LISTEN"}


def alive(process: psutil.Process) -> bool:
    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)


def answer(*probabilities: float) -> captures.Captured:
    return captures.Captured("1", datetime(2026, 1, 1, tzinfo=UTC), b"", "image/png", probabilities, None)


def test_answers_that_are_missing_or_differ_from_evaluate_are_an_error(exported: Path) -> None:
    expected = np.load(evaluated.EVALUATION / "probabilities.npy")
    test = evaluated.read_test()
    answers = {f"vehicle_{red}.png": answer(red / 255, 1 - red / 255) for red in REDS}
    evaluated.compare(answers, answers.keys(), test)
    first = answers.pop("vehicle_10.png")
    with pytest.raises(InputError, match=r"not 1 others \['vehicle_10.png'\]"):
        evaluated.compare(answers, {*answers, "vehicle_10.png"}, test)
    evaluated.compare(answers, answers.keys(), test)
    with pytest.raises(InputError, match="answered 0 pictures"):
        evaluated.compare({}, set(), test)
    answers["vehicle_10.png"] = first
    np.save(evaluated.EVALUATION / "familiarity.npy", np.linspace(-0.5, 0.6, len(REDS)))
    with pytest.raises(InputError, match="found known = None, expected False, as evaluate's familiarity is -0.5"):
        evaluated.compare(answers, answers.keys(), evaluated.read_test())
    np.save(evaluated.EVALUATION / "probabilities.npy", expected[::-1])
    with pytest.raises(InputError, match="vehicle_.*expected evaluate's"):
        evaluated.compare(answers, answers.keys(), evaluated.read_test())


SURE, UNSURE = (0.97, 0.03), (0.6, 0.4)
GOOD = [
    Outcome(f"{TEST}a.png", "SUCCEEDED", SURE, "", "", 1.0),
    Outcome(f"{TEST}b.png", "FAILED", (), trial.BELOW, "", 1.0),
]
PICTURES = {"a.png": b"a", "b.png": b"b"}


def line(image: bytes, probabilities: tuple[float, ...], event: str) -> str:
    return record(image, json.dumps(probabilities), about_eventId=event)


RECORDS = [line(b"a", SURE, "1"), line(b"b", UNSURE, "2")]


def tried(outcomes: list[Outcome], records: list[str]) -> trial.Trial:
    return trial.Trial(outcomes, {"data_capture/endpoint/model/1.jsonl": "".join(records)}, 1.0)


def test_executions_that_agree_with_what_was_captured_pass() -> None:
    trial.check(tried(GOOD, RECORDS), PICTURES, 0.94)
    answers = trial.answers(tried(GOOD, RECORDS), PICTURES, "model")
    assert {name: answer.probabilities for name, answer in answers.items()} == {"a.png": SURE, "b.png": UNSURE}
    assert trial.answers(tried(GOOD, RECORDS), PICTURES, "challenger") == {}


@pytest.mark.parametrize(
    ("outcomes", "records"),
    [
        (GOOD, RECORDS[:1]),  # a record lost
        (GOOD, [*RECORDS, line(b"b", UNSURE, "3")]),  # one double
        (GOOD, [RECORDS[0], line(b"c", UNSURE, "2")]),  # one of another picture
        (GOOD, [RECORDS[0], line(b"b", SURE, "2")]),  # failed although it was sure
        ([GOOD[0], Outcome(f"{TEST}b.png", "SUCCEEDED", UNSURE, "", "", 1.0)], RECORDS),  # succeeded although it wasn't
        ([GOOD[0], Outcome(f"{TEST}b.png", "FAILED", (), "AccessDeniedError", "no", 1.0)], RECORDS),  # of another cause
        ([Outcome(f"{TEST}a.png", "SUCCEEDED", (0.96, 0.04), "", "", 1.0), GOOD[1]], RECORDS),  # another answer
    ],
)
def test_executions_that_disagree_with_what_was_captured_are_an_error(
    outcomes: list[Outcome], records: list[str]
) -> None:
    with pytest.raises(InputError, match="executions and captured records disagree"):
        trial.check(tried(outcomes, records), PICTURES, 0.94)


@pytest.mark.parametrize(("label", "accuracy"), [(0, 1.0), (1, 0.0)])
def test_the_accuracy_is_null_if_no_execution_succeeded(label: int, accuracy: float) -> None:
    test = evaluated.Test(Path(), "a test", PICTURES, {"a.png": label, "b.png": 0}, {}, {}, b"")
    measured = evaluated.measure(tried(GOOD, RECORDS), test)
    counts = {"executions": 2, "succeeded": 1, "below_threshold": 1, "unknown": 0}
    assert measured == {**counts, "accuracy_succeeded": accuracy}
    none = evaluated.measure(tried(GOOD[1:], RECORDS[1:]), test)
    assert none == {**counts, "executions": 1, "succeeded": 0, "accuracy_succeeded": None}


def test_test_cases_use_each_picture_before_any_twice_and_follow_the_seed() -> None:
    names = ["a", "b", "c", "d"]
    chosen = cases(names, 6, seed=1)
    assert sorted(chosen[:4]) == names
    assert len(chosen) == 6
    assert chosen == cases(names, 6, seed=1)
    assert cases([str(number) for number in range(50)], 50, 1) != cases([str(number) for number in range(50)], 50, 2)


def test_costs_are_shown_where_a_price_is_known() -> None:
    month = (24 * 30, "30 days")
    said = estimate("ml.m5.xlarge", 2, "us-east-1", *month)
    assert "2 x ml.m5.xlarge: about 0.46 USD per hour, 331 USD in 30 days" in said
    assert "eu-west-1 may differ" in estimate("ml.m5.xlarge", 1, "eu-west-1", *month)
    assert "0.46 USD in 2 h" in estimate("ml.m5.xlarge", 1, "us-east-1", 2, "2 h")
    assert "no price is listed" in estimate("ml.z9.large", 1, "us-east-1", *month)


@pytest.mark.slow
def test_a_stream_reports_rates_latency_and_causes(exported: Path, python: Run) -> None:
    done = python("-m", "stages.scones.load", "--executions", "8", "--per-second", "4", cwd=exported)
    assert done.returncode == 0, done.stderr
    report = files.read_json(load.REPORT)
    assert report["executions"] == 8
    assert report["asked_per_second"] == 4
    assert 0 < report["started_per_second"] <= 4.5
    assert report["executions_per_second"] <= 8 / (7 / 4)
    assert report["start_to_end_s"] >= 7 / 4
    assert report["succeeded"] + report["failures"]["ThresholdConfidenceNotMet"] == 8
    assert set(report["latency_s"]) == {"p50", "p95", "p99", "max"}


def slow() -> Mock:
    """A workflow whose executions take half a second, and of which AWS refuses to start every fifth."""

    def outcomes(started: Mapping[str, str]) -> dict[str, Outcome]:
        return {arn: Outcome(key, "SUCCEEDED", SURE, "", "", 0.5) for arn, key in started.items()}

    refusal = ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "StartExecution")
    starts = [str(number) if number % 5 else refusal for number in range(1, 21)]
    return Mock(start=Mock(side_effect=starts), outcomes=outcomes)


def test_a_stream_keeps_its_rate_however_long_executions_take() -> None:
    report = load.summary(load.stream(slow(), "bucket", ["a"] * 20, 40), 40)
    assert 8 < report["started_per_second"] <= 44  # 2 if each waited for the end of the one before
    assert 18 / 40 + 0.4 <= report["start_to_end_s"] < 5


def test_a_start_that_aws_refuses_is_counted_by_its_cause() -> None:
    report = load.summary(load.stream(slow(), "bucket", ["a"] * 10, None), None)
    assert report["failures"] == {"ThrottlingException": 2}
    assert (report["executions"], report["succeeded"], report["latency_s"]["max"]) == (10, 8, 0.5)
    refused = load.Sent(Outcome("a", load.REFUSED, (), "ThrottlingException", "", 0.0), 0.0, 0.1)
    assert load.summary([refused], None)["latency_s"] is None


def test_failures_are_counted_by_cause() -> None:
    failed = Outcome("c", "FAILED", (), "AccessDeniedError", "", 3.0)
    outcomes = [*GOOD, failed, Outcome("d", "TIMED_OUT", (), "", "", 9.0)]
    report = load.summary([load.Sent(outcome, 0.0, 2.0) for outcome in outcomes], None)
    assert report["failures"] == {"AccessDeniedError": 1, "TIMED_OUT": 1, "ThresholdConfidenceNotMet": 1}
    assert (report["succeeded"], report["executions_per_second"], report["latency_s"]["max"]) == (1, 2.0, 9.0)


def test_a_missing_challenger_is_reported_in_one_line(exported: Path) -> None:
    set_parameters(challenger={"archive": "nowhere.tar.gz", "weight": 1.0})
    with pytest.raises(InputError, match=r"deploy.scones.challenger.archive: found no file .*nowhere.tar.gz"):
        deployment.parts(evaluated.ARCHIVE, workflow_settings())


def test_uploads_that_aws_refuses_are_reported_in_one_line() -> None:
    with pytest.raises(InputError, match="AWS refuses: Failed to upload a to b/c: Access Denied"), plain_errors():
        raise boto3.exceptions.S3UploadFailedError("Failed to upload a to b/c: Access Denied")


def test_pictures_of_an_earlier_test_set_are_removed(exported: Path, account: boto3.Session) -> None:
    settings = workflow_settings()
    deployment.deploy(account, evaluated.ARCHIVE, {"old.png": b"old", "kept.png": b"kept"}, settings)
    made = deployment.deploy(account, evaluated.ARCHIVE, {"kept.png": b"kept", "new.png": b"new"}, settings)
    assert [entry["Key"] for entry in keys(account, made.bucket, TEST)] == [f"{TEST}kept.png", f"{TEST}new.png"]
    assert [line.split("/: ")[1] for line in made.done[-2:]] == ["1 of 2 objects uploaded", "1 other objects removed"]
    there = [{"Key": f"{TEST}{name}"} for name in ("kept.png", "new.png")]
    client(account, "s3").delete_objects(Bucket=made.bucket, Delete={"Objects": there})
    with pytest.raises(InputError, match="test/: found no test pictures"):
        load.load(account, made.bucket, made.workflow, 1, None, settings)
