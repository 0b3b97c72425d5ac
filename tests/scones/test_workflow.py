"""The deployed workflow on the stand-in: what is deployed, how executions end, what is captured, and who is told."""

import base64
import hashlib
import io
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import faulty_stand_in
import httpx
import psutil
import pytest
from botocore.exceptions import ClientError
from vehicles import BROKEN, SLOW, UNKNOWN, archive, picture, settings, steady, wait_until

from stages.engine.aws.buckets import keys
from stages.engine.aws.clients import client
from stages.engine.aws.stack import Stack
from stages.scones.aws import artifacts, deployment, preflight, trial
from stages.scones.aws.executions import Outcome, Workflow, message
from stages.scones.aws.stand_in import local
from stages.scones.aws.stand_in.functions import MOST
from stages.scones.aws.stand_in.scratch import PURPOSE
from stages.scones.feedback import captures

PICTURES = {
    "sure.png": picture(255),
    "unsure.png": picture(200),
    "unknown.png": picture(255, UNKNOWN),
    "broken.png": picture(255, BROKEN),
    "slow.png": picture(255, SLOW),
    "cut.png": picture(255)[:60],
    "page.png": b"<html>",
    "huge.png": picture(255) + bytes(300_000),
    **{f"red-{red}.png": picture(red) for red in range(230, 250)},
}


class World(NamedTuple):
    """A stand-in with the workflow deployed."""

    session: boto3.Session
    archive: Path
    deployed: deployment.Deployed
    queue: str
    """Gets what the topic publishes."""

    def execute(self, name: str) -> Outcome:
        return Workflow(self.session, self.deployed.workflow).execute(self.deployed.bucket, f"test/{name}")

    def fan_out(self, **event: Any) -> dict[str, Any]:
        """What became of an execution for many pictures."""
        return Workflow(self.session, self.deployed.fan_out).run(event)

    def faults(self, method: str, **content: Any) -> httpx.Response:
        """Tells the stand-in of faults, or asks it which are still to come."""
        signed = {"Authorization": f"Credential={os.environ['AWS_ACCESS_KEY_ID']}/0/-/stand-in/aws4_request"}
        url = f"{os.environ['AWS_ENDPOINT_URL']}/stand-in/faults"
        return httpx.request(method, url, headers=signed, **content).raise_for_status()

    def fail(self, **fault: Any) -> None:
        """The next requests to a service whose path matches get an error, see `faulty_stand_in`."""
        self.faults("POST", json={"times": 1, **fault})

    def told(self) -> list[dict[str, Any]]:
        """What the topic has published since the last call."""
        return [
            {"Subject": body["Subject"], **json.loads(body["Message"])} for body in received(self.session, self.queue)
        ]

    def processes(self, of: str) -> list[psutil.Process]:
        """Those that the stand-in has started from the file or the module ``of``."""
        started = psutil.Process().children(recursive=True)
        return [one for one in started if of in (Path(word).name for word in one.cmdline())]


def subscribed(session: boto3.Session, topic: str, name: str) -> str:
    """A new queue that gets what ``topic`` publishes."""
    sqs = client(session, "sqs")
    queue: str = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    client(session, "sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return queue


def received(session: boto3.Session, queue: str) -> list[dict[str, Any]]:
    """The messages of a queue, which are removed from it."""
    sqs, found = client(session, "sqs"), []
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        for one in messages:
            found.append(json.loads(one["Body"]))
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=one["ReceiptHandle"])
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    model = archive(tmp_path_factory.mktemp("model"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
            patch.setenv(name, "http://127.0.0.1:9")  # what stays on this machine must not ask a proxy
        patch.setenv("PYTHONPATH", str(Path(faulty_stand_in.__file__).parent))
        patch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "20")  # a listing has pages, as S3's of a thousand has
        with local.stand_in("eu-central-1", faulty_stand_in.__name__) as session:
            deployed = deployment.deploy(session, model, PICTURES, settings())
            yield World(session, model, deployed, subscribed(session, deployed.topic, "notifications"))


@pytest.fixture(autouse=True)
def every_fault_is_met(world: World) -> Iterator[None]:
    """What a test injects it has to run into, and none is left to the next test."""
    yield
    assert world.faults("GET").json() == []


def test_the_deployed_definitions_are_those_of_the_files(world: World) -> None:
    found = client(world.session, "cloudformation").get_template(StackName="scones", TemplateStage="Original")
    assert found["TemplateBody"] == artifacts.TEMPLATE.read_text()
    functions = client(world.session, "lambda")
    zipped = artifacts.of_the_workflow()["FunctionsKey"].content
    digest = base64.b64encode(hashlib.sha256(zipped).digest()).decode()
    for name in ("serializeImageData", "invokeClassifier", "confidenceFilter", "digest"):
        found = functions.get_function(FunctionName=f"scones-{name}")["Configuration"]
        assert found["CodeSha256"] == digest
    with zipfile.ZipFile(io.BytesIO(zipped)) as unzipped:
        assert {name: unzipped.read(name) for name in unzipped.namelist()} == {
            path.name: path.read_bytes() for path in [*artifacts.FUNCTIONS.glob("*.py"), *artifacts.IMPORTED]
        }
    states = client(world.session, "stepfunctions")
    for arn, path in ((world.deployed.workflow, artifacts.WORKFLOW), (world.deployed.fan_out, artifacts.FAN_OUT)):
        definition = states.describe_state_machine(stateMachineArn=arn)["definition"]
        pattern = re.sub(r"\\\$\\\{\w+\\\}", '[^"$]+', re.escape(path.read_text()))
        assert re.fullmatch(pattern, definition)


def test_a_second_deployment_of_the_same_changes_nothing(world: World) -> None:
    again = deployment.deploy(world.session, world.archive, PICTURES, settings())
    same = ["unchanged", "0 of 4 objects uploaded", "unchanged", f"0 of {len(PICTURES)} objects uploaded"]
    assert [line.split(": ", 1)[1] for line in again.done] == same
    assert replace(again, done=[]) == replace(world.deployed, done=[])


def test_an_execution_ends_by_its_confidence_and_notifies_of_unsure_and_unknown_pictures(world: World) -> None:
    world.told()
    done = trial.run(world.session, world.deployed, ["sure.png", "unknown.png", "unsure.png"], 1)
    trial.check(done, PICTURES, settings().threshold)
    sure, unknown, unsure = done.outcomes
    assert (unknown.status, unknown.error) == ("FAILED", "UnknownPictureError")
    assert "resembles none of the classes" in message(unknown)
    assert (sure.status, sure.probabilities) == ("SUCCEEDED", (1.0, 0.0))
    assert (unsure.status, unsure.error) == ("FAILED", "ThresholdConfidenceNotMet")
    assert message(unsure) == "confidence 0.784314 is below the threshold 0.94"
    assert sorted((note["Subject"], note["error"], note["input"]["s3_key"]) for note in world.told()) == [
        ("Confidence below the threshold", "ThresholdConfidenceNotMet", "test/unsure.png"),
        ("Picture of none of the classes", "UnknownPictureError", "test/unknown.png"),
    ]


FAILURES = {
    "test/broken.png": ("EndpointUnavailableError", r"Received server error \(500\)"),
    "test/cut.png": ("ImageRefusedError", r"Received client error \(400\).*not a PNG image"),
    "test/page.png": ("NotAnImageError", "page.png begins with b'<html>': expected a PNG or JPEG image"),
    "test/huge.png": ("ImageTooLargeError", r"huge.png has \d+ bytes: expected at most 190000.*256 KiB"),
    "test/missing.png": ("ImageMissingError", "missing.png does not exist"),
    "test/denied.png": ("AccessDeniedError", "denied.png may not be read.*injected"),
    "": ("InvalidEventError", "s3_key = '': expected a non-empty text"),
}


def test_a_failure_ends_failed_with_its_cause_and_a_notification(world: World) -> None:
    world.told()
    world.fail(service="s3", path="/test/denied.png", status=403, code="AccessDenied")
    workflow = Workflow(world.session, world.deployed.workflow)
    with ThreadPoolExecutor(8) as pool:
        outcomes = pool.map(lambda key: workflow.execute(world.deployed.bucket, key), FAILURES)
    for outcome in outcomes:
        error, words = FAILURES[outcome.key]
        assert (outcome.status, outcome.error) == ("FAILED", error)
        assert re.search(words, message(outcome))
    assert sorted((note["Subject"], note["input"]["s3_key"], note["error"]) for note in world.told()) == sorted(
        ("Execution failed", key, error) for key, (error, _) in FAILURES.items()
    )


def test_an_endpoint_that_does_not_answer_in_time_is_a_failure(world: World) -> None:
    impatient = settings(stack="impatient", endpoint_timeout=1)
    made = deployment.deploy(world.session, world.archive, {"slow.png": PICTURES["slow.png"]}, impatient)
    outcome = Workflow(world.session, made.workflow).execute(made.bucket, "test/slow.png")
    assert (outcome.status, outcome.error) == ("FAILED", "EndpointUnavailableError")
    assert re.search("endpoint impatient-endpoint.*Read timeout", message(outcome))
    deployment.destroy(world.session, impatient)


INVOCATIONS = {"service": "sagemaker", "path": "/invocations"}
DENIED = {**INVOCATIONS, "status": 403, "code": "AccessDeniedException"}
THROTTLED = {**INVOCATIONS, "status": 400, "code": "ThrottlingException"}


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (THROTTLED, "", ""),
        ({"service": "s3", "path": "/test/sure.png", "status": 503, "code": "SlowDown"}, "", ""),
        (DENIED, "AccessDeniedError", "endpoint .*AccessDeniedException.*injected"),
        pytest.param(
            {**THROTTLED, "times": 5}, "EndpointThrottledError", "ThrottlingException", marks=pytest.mark.slow
        ),
    ],
    ids=["throttled once", "failing storage", "no access", "throttled"],
)
def test_a_fault_that_passes_is_retried_and_another_one_fails(
    world: World, fault: dict[str, Any], error: str, words: str
) -> None:
    world.fail(**fault)
    outcome = world.execute("sure.png")
    assert (outcome.status, outcome.error) == ("FAILED" if error else "SUCCEEDED", error)
    assert re.search(words, message(outcome))
    assert world.execute("sure.png").status == "SUCCEEDED"


@pytest.mark.parametrize(("times", "notes"), [(1, 1), (3, 0)])
def test_a_failing_notification_is_sent_again_and_does_not_hide_the_failure(
    world: World, times: int, notes: int
) -> None:
    world.told()
    world.fail(service="sns", path="/", status=500, code="InternalFailure", times=times)
    assert world.execute("unsure.png").error == "ThresholdConfidenceNotMet"
    assert len(world.told()) == notes


@pytest.mark.parametrize("of", ["bootstrap.py", "container"])
def test_functions_and_models_run_in_the_scratch_folder_and_are_restarted_when_killed(world: World, of: str) -> None:
    assert world.execute("sure.png").status == "SUCCEEDED"
    killed = world.processes(of)
    assert killed
    for process in killed:
        assert process.cwd().startswith(f"{tempfile.gettempdir()}/stages-{PURPOSE}-")
        process.kill()
    assert world.execute("sure.png").status == "SUCCEEDED"
    assert not any(process.is_running() for process in killed)


class Held(NamedTuple):
    """A stack whose model takes longer to load than the workflow waits for an answer, and answers when it is let go."""

    deployed: deployment.Deployed
    folder: Path
    models: list[psutil.Process]

    @contextmanager
    def asked(self, session: boto3.Session) -> Iterator[Future[trial.Trial]]:
        """A trial of one execution, which waits for the model's answer until the block ends."""
        asked, held = self.folder / "asked", self.folder / "held"
        asked.unlink(missing_ok=True)
        held.touch()
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(trial.run, session, self.deployed, ["sure.png"], 1)
            try:
                wait_until(asked.exists)
                yield done
            finally:
                held.unlink()


@pytest.fixture(scope="module")
def held(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    folder, before = tmp_path_factory.mktemp("held"), world.processes("container")
    patient = settings(stack="held", endpoint_timeout=2)
    model = steady(folder, [1.0, 0.0], load="time.sleep(2.2)", before=f"hold({str(folder)!r}, 'asked')")
    deployed = deployment.deploy(world.session, model, {"sure.png": PICTURES["sure.png"]}, patient)
    yield Held(deployed, folder, [one for one in world.processes("container") if one not in before])
    deployment.destroy(world.session, patient)


def test_a_model_that_loads_slowly_has_one_record_for_one_request(held: Held, world: World) -> None:
    done = trial.run(world.session, held.deployed, ["sure.png"] * 4, 2)
    trial.check(done, PICTURES, settings().threshold)


def test_a_request_to_a_killed_model_is_repeated_and_captured_once(held: Held, world: World) -> None:
    with held.asked(world.session) as done:
        (model,) = held.models
        model.kill()
    # The first try met a model that died, the second gave up while it was loaded again: only the third has an answer.
    trial.check(done.result(), PICTURES, settings().threshold)
    assert not model.is_running()


def test_a_function_that_is_killed_while_it_runs_is_run_again(held: Held, world: World) -> None:
    with held.asked(world.session) as done:
        for process in world.processes("invoke_classifier.handler"):
            process.kill()
    trial.check(done.result(), PICTURES, settings().threshold)  # both tries are captured, and the last one counts
    assert [one.status for one in done.result().outcomes] == ["SUCCEEDED"]
    after = Workflow(world.session, held.deployed.workflow).execute(held.deployed.bucket, "test/sure.png")
    assert after.status == "SUCCEEDED"


def test_many_pictures_in_one_execution_have_one_result_each(world: World) -> None:
    names = ["sure.png", "unsure.png", "missing.png", *(f"red-{red}.png" for red in range(230, 250))]
    described = world.fan_out(s3_bucket=world.deployed.bucket, s3_keys=[f"test/{name}" for name in names])
    assert described["status"] == "SUCCEEDED"
    results = json.loads(described["output"])
    assert [result["s3_key"] for result in results] == [f"test/{name}" for name in names]
    assert results[0] == {"s3_key": "test/sure.png", "status": "SUCCEEDED", "inferences": [1.0, 0.0]}
    assert [results[index]["error"] for index in (1, 2)] == ["ThresholdConfidenceNotMet", "ImageMissingError"]
    ends = {result["s3_key"]: result["status"] for result in results[3:]}
    assert ends == {f"test/red-{red}.png": "SUCCEEDED" if red / 255 >= 0.94 else "FAILED" for red in range(230, 250)}


def test_all_pictures_below_a_prefix_have_a_result_in_the_bucket(world: World) -> None:
    s3 = client(world.session, "s3")
    some = {name: content for name, content in PICTURES.items() if name in ("unsure.png", "page.png")}
    sure = {f"sure-{number}.png": PICTURES["sure.png"] for number in range(25)}  # on two pages of the listing
    for name, content in {**some, **sure}.items():
        s3.put_object(Bucket=world.deployed.bucket, Key=f"pictures/many/{name}", Body=content)
    described = world.fan_out(s3_prefix="pictures/many/")
    assert described["status"] == "SUCCEEDED", described
    place = json.loads(described["output"])["ResultWriterDetails"]
    assert place["Key"].startswith(f"results/{described['name']}")
    manifest = json.loads(s3.get_object(Bucket=world.deployed.bucket, Key=place["Key"])["Body"].read())
    (written,) = manifest["ResultFiles"]["SUCCEEDED"]
    results = json.loads(s3.get_object(Bucket=world.deployed.bucket, Key=written["Key"])["Body"].read())
    outputs = [json.loads(result["Output"]) for result in results]
    found = {one["s3_key"]: one.get("error", one["status"]) for one in outputs}
    assert found == {
        **{f"pictures/many/{name}": "SUCCEEDED" for name in sure},
        "pictures/many/unsure.png": "ThresholdConfidenceNotMet",
        "pictures/many/page.png": "NotAnImageError",
    }
    assert world.fan_out(s3_prefix="pictures/none/")["status"] == "SUCCEEDED"


def test_one_digest_sums_up_many_failures(world: World) -> None:
    alerts = Stack(world.session, "scones").outputs()["Alerts"]
    queue = subscribed(world.session, alerts, "digests")
    for name in ("unsure.png", "unsure.png", "unknown.png", "sure.png"):
        world.execute(name)
    client(world.session, "cloudwatch").describe_alarms()  # the stand-in reads the functions' logs
    found = client(world.session, "lambda").invoke(FunctionName="scones-digest:$LATEST", Payload=b"{}")
    counted = json.loads(found["Payload"].read())
    assert counted["confidence below the threshold"] >= 2
    assert counted["pictures of none of the classes"] >= 1
    (digest,) = [one for one in received(world.session, queue) if not one["Subject"].startswith("ALARM")]
    assert digest["Subject"] == "scones: executions of the last 24 hours"
    assert f"pictures that were judged: {counted['pictures that were judged']}" in digest["Message"]


def test_a_picture_whose_execution_is_stopped_has_a_result_like_the_others(world: World) -> None:
    states = client(world.session, "stepfunctions")

    def first() -> list[str]:
        listed = states.list_executions(stateMachineArn=world.deployed.workflow, statusFilter="RUNNING")
        return [one["executionArn"] for one in listed["executions"] if one["name"].endswith("-0")]

    with ThreadPoolExecutor(1) as pool:
        pictures = ["test/slow.png", "test/sure.png"]
        going = pool.submit(world.fan_out, s3_bucket=world.deployed.bucket, s3_keys=pictures)
        wait_until(first)
        (arn,) = first()
        # In its second task, which asks the model: stopped between two tasks, moto's execution ends with an error of its own.
        history = partial(states.get_execution_history, executionArn=arn)
        wait_until(lambda: sum(one["type"] == "TaskStarted" for one in history()["events"]) == 2)
        states.stop_execution(executionArn=arn)
        described = going.result()
    assert described["status"] == "SUCCEEDED"
    stopped, sure = json.loads(described["output"])
    assert (stopped["s3_key"], stopped["status"]) == ("test/slow.png", "FAILED")
    assert stopped["error"] == "States.TaskFailed"
    assert "ABORTED" in stopped["cause"]
    assert sure["status"] == "SUCCEEDED"


def test_a_failure_is_reported_whatever_aws_says_of_it(world: World) -> None:
    error = {"errorMessage": "gone", "errorType": "ImageMissingError", "stackTrace": ['  File "/var/task/a.py"']}
    cause = json.dumps(error)
    description = json.dumps({"Status": "FAILED", "Error": "ImageMissingError", "Cause": cause})
    failures = [
        ("States.TaskFailed", description),
        ("States.TaskFailed", description[:-20]),
        ("States.TaskFailed", json.dumps({"Status": "TIMED_OUT", "Input": {"s3_key": "k"}})),
        ("States.Timeout", ""),
        ("StepFunctions.ExecutionAlreadyExistsException", "Execution Already Exists: 'arn:aws:states:...'"),
        ("StepFunctions.AWSStepFunctionsException", "Rate exceeded (Error Code: ThrottlingException)"),
    ]
    # What comes after the task. On AWS its first Catch has them all: moto matches States.TaskFailed by its name alone.
    states = json.loads(artifacts.FAN_OUT.read_text())["States"]["eachPicture"]["ItemProcessor"]["States"]
    processor = {"StartAt": states.pop("workflow")["Catch"][0]["Next"], "States": states}
    each = {"Type": "Map", "ItemProcessor": processor, "End": True}
    definition, role = json.dumps({"StartAt": "each", "States": {"each": each}}), "arn:aws:iam::123456789012:role/any"
    stepfunctions = client(world.session, "stepfunctions")
    machine = stepfunctions.create_state_machine(name="failures", definition=definition, roleArn=role)
    described = Workflow(world.session, machine["stateMachineArn"]).run(
        [{"s3_key": "k", "failure": {"Error": error, "Cause": cause}} for error, cause in failures]
    )
    assert described["status"] == "SUCCEEDED"
    results = json.loads(described["output"])
    assert {(result["s3_key"], result["status"]) for result in results} == {("k", "FAILED")}
    ends = [(result["error"], result["cause"]) for result in results]
    assert ends == [("ImageMissingError", "gone"), *failures[1:]]  # without the stack trace


def test_captured_records_have_sagemakers_format_and_path(world: World, real_data: Path) -> None:
    world.execute("sure.png")
    wait_until(lambda: any(keys(world.session, world.deployed.bucket, "data_capture/")))
    found = [entry["Key"] for entry in keys(world.session, world.deployed.bucket, "data_capture/")]
    place = r"data_capture/{}/model/\d{{4}}/\d\d/\d\d/\d\d/\d\d-\d\d-\d{{3}}-[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}\.jsonl"
    assert all(re.fullmatch(place.format(re.escape(world.deployed.endpoint)), key) for key in found)
    body = client(world.session, "s3").get_object(Bucket=world.deployed.bucket, Key=found[0])["Body"].read().decode()
    real = min((real_data / "scones" / "captured_data").glob("*.jsonl")).read_text()
    verbose = "application/json; verbose=true"  # as our workflow asks, unlike the published one
    assert shape(body.splitlines()[0]).replace(verbose, "application/json") == shape(real.splitlines()[0])
    assert body.endswith("}\n")
    assert captures.read([("captured", body)]).problems == []


def shape(line: str) -> str:
    """A record with its values replaced by their form."""
    line = re.sub(r'"data":"[A-Za-z0-9+/=]+","encoding":"BASE64"', '"data":BASE64,"encoding":"BASE64"', line)
    line = re.sub(r'"data":"\[[^"]*\]"', '"data":JSON', line)
    line = re.sub(r'"inferenceId":"[0-9a-f]{32}\.0",', "", line)  # where the requests were not given any
    line = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", line)
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", line)


def test_the_stand_in_refuses_other_users(world: World) -> None:
    other = boto3.Session("another", "user", region_name=world.session.region_name)
    with pytest.raises(ClientError, match="403"):
        client(other, "s3").list_buckets()
    with pytest.raises(ClientError, match="403"):
        client(other, "lambda").invoke(FunctionName="scones-confidenceFilter", Payload=b"{}")
    address = os.environ["AWS_ENDPOINT_URL"]
    for path in ("/", "/moto-api/data.json", "/stand-in/faults"):
        assert httpx.get(f"{address}{path}").status_code == 403
    signed = client(world.session, "s3").generate_presigned_url("list_buckets")
    assert httpx.get(signed).status_code == 403
    page = httpx.options(address, headers={"Origin": "http://example.org", "Access-Control-Request-Method": "POST"})
    assert "Access-Control-Allow-Origin" not in page.headers


def test_unsupported_requests_are_reported_as_errors_of_aws(world: World) -> None:
    with pytest.raises(ClientError, match="NotImplemented.*The stop_training_job action has not been implemented"):
        client(world.session, "sagemaker").stop_training_job(TrainingJobName="any")
    for check in (preflight.quota, preflight.permissions):
        found = check(world.session, settings())
        assert found.good is None
        assert "NotImplemented" in found.message


def test_sagemakers_own_sdk_finds_and_invokes_the_endpoint(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from sagemaker.core.resources import Endpoint, EndpointConfig, Model

    endpoint = Endpoint.get(world.deployed.endpoint, session=world.session, region=world.session.region_name)
    assert endpoint.endpoint_status == "InService"
    assert endpoint.data_capture_config.current_sampling_percentage == 100
    config = EndpointConfig.get(endpoint.endpoint_config_name, session=world.session)
    (variant,) = config.production_variants
    assert Model.get(variant.model_name, session=world.session).primary_container.image.count("pytorch-inference") == 1
    answer = endpoint.invoke(body=PICTURES["sure.png"], content_type="image/png", accept="application/json")
    assert json.loads(answer.body.read()) == [1.0, 0.0]


LISTED = [  # service, operation, the list in its answer, a name in it
    ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    ("s3", "list_buckets", "Buckets", "Name"),
    ("logs", "describe_log_groups", "logGroups", "logGroupName"),
    ("iam", "list_roles", "Roles", "RoleName"),
    ("stepfunctions", "list_state_machines", "stateMachines", "name"),
    ("lambda", "list_functions", "Functions", "FunctionName"),
    ("sns", "list_topics", "Topics", "TopicArn"),
    ("sagemaker", "list_endpoints", "Endpoints", "EndpointName"),
    ("sagemaker", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"),
    ("sagemaker", "list_models", "Models", "ModelName"),
]


def there(session: boto3.Session) -> dict[str, set[str]]:
    """The names of all that there is, by the operation that lists them."""
    return {
        operation: {one[name] for one in getattr(client(session, service), operation)()[key]}
        for service, operation, key, name in LISTED
    }


def test_two_variants_share_the_requests_by_weight_and_destroy_removes_everything_and_lists_it(
    world: World, tmp_path: Path
) -> None:
    challenger = {"archive": str(steady(tmp_path, [0.96, 0.04])), "weight": 1.0}
    chosen = settings(stack="gone", weight=3.0, challenger=challenger)
    others = there(world.session)
    made = deployment.deploy(world.session, world.archive, {"sure.png": PICTURES["sure.png"]}, chosen)
    outcomes = list(Workflow(world.session, made.workflow).execute_all(made.bucket, ["test/sure.png"] * 8, 2))
    assert sorted(outcome.probabilities[0] for outcome in outcomes) == [0.96] * 2 + [1.0] * 6
    # The stand-in for CloudFormation would leave a bucket that is written to meanwhile, and not say so.
    wait_until(lambda: any(keys(world.session, made.bucket, "data_capture/")))
    new = {kind: names - others[kind] for kind, names in there(world.session).items()}
    assert all(new.values())
    kinds = {kind for kind, _ in Stack(world.session, "gone").resources()}
    before = set(psutil.Process().children(recursive=True))
    removed = deployment.destroy(world.session, chosen)
    assert kinds <= {line.split()[0] for line in removed}
    assert any(re.fullmatch(r"\d+ objects in s3://gone-bucket-\w+", line) for line in removed)
    assert Stack(world.session, "gone").status() is None
    assert Stack(world.session, "gone-artifacts").status() is None
    assert there(world.session) == others
    said = "\n".join(removed)
    assert not [name for names in new.values() for name in names if name not in said]
    assert len(before - set(psutil.Process().children(recursive=True))) >= 5  # three functions and two models
    assert deployment.destroy(world.session, chosen) == []


@pytest.mark.long
def test_memory_does_not_grow_with_executions(world: World) -> None:
    (server,) = [one for one in psutil.Process().children() if "stand_in" in " ".join(one.cmdline())]
    workflow = Workflow(world.session, world.deployed.workflow)
    sizes: list[dict[psutil.Process, int]] = []
    for count in (200, 500):  # moto's own caches fill during the first
        names = [f"test/red-{230 + index % 20}.png" for index in range(count)]
        outcomes = list(workflow.execute_all(world.deployed.bucket, names, settings().concurrency))
        assert {outcome.error for outcome in outcomes} == {"", "ThresholdConfidenceNotMet"}
        sizes.append({one: one.memory_info().rss for one in [server, *server.children()]})
    first, last = sizes
    assert len(last) <= 1 + 2 * (3 * MOST + 1)  # the server, and two stacks' functions and models
    grown = {" ".join(one.cmdline()[-2:]): last[one] - first[one] for one in first.keys() & last.keys()}
    assert len(grown) >= 5
    assert max(grown.values()) < 15 * 2**20, grown  # what S3 keeps of them has 5 MiB
