"""The workflow's three functions, each called as Lambda calls it; what they return goes through plain json."""

import ast
import base64
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import boto3
import pytest
from botocore.exceptions import (
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.response import StreamingBody
from botocore.stub import Stubber

from stages.scones.aws import artifacts
from stages.scones.aws.functions import confidence_filter, invoke_classifier, serialize_image_data

PNG = b"\x89PNG\r\n\x1a\n the rest of a picture"
IMAGE = {"image_data": base64.b64encode(PNG).decode()}
EVENT = {"image_data": "", "s3_bucket": "vehicles", "s3_key": "test/bike.png"}


def through_json(event: dict[str, Any]) -> dict[str, Any]:
    passed: dict[str, Any] = json.loads(json.dumps(event))
    return passed


def stubbed(service: str, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> Iterator[Stubber]:
    client = boto3.client(service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    monkeypatch.setattr(module, name, lambda: client)
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    yield from stubbed("s3", monkeypatch, serialize_image_data, "storage")


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    monkeypatch.setenv("ENDPOINT_NAME", "vehicles")
    yield from stubbed("sagemaker-runtime", monkeypatch, invoke_classifier, "runtime")


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THRESHOLD", "0.94")
    monkeypatch.setenv("WORKFLOW", "scones-workflow")


def stored(s3: Stubber, content: bytes) -> None:
    answer = {"Body": StreamingBody(io.BytesIO(content), len(content)), "ContentLength": len(content)}
    s3.add_response("get_object", answer, {"Bucket": "vehicles", "Key": "test/bike.png"})


def answered(endpoint: Stubber, body: bytes, **asked: str) -> None:
    request = {"EndpointName": "vehicles", "ContentType": "image/png", "Accept": "application/json; verbose=true"}
    answer = {"Body": StreamingBody(io.BytesIO(body), len(body))}
    endpoint.add_response("invoke_endpoint", answer, {**request, "Body": PNG, **asked})


def test_a_picture_goes_from_function_to_function_as_json(s3: Stubber, endpoint: Stubber) -> None:
    stored(s3, PNG)
    verbose = b'{"classes": ["a", "b"], "probabilities": [[0.97, 0.03]], "known": [true], "familiarity": [0.1]}'
    answered(endpoint, verbose)
    serialized = through_json(serialize_image_data.handler(EVENT, None))
    assert base64.b64decode(serialized["image_data"]) == PNG
    assert {**serialized, "image_data": ""} == {**EVENT, "inferences": []}
    classified = through_json(invoke_classifier.handler(serialized, None))
    assert classified == {**serialized, "inferences": [0.97, 0.03], "known": True}
    assert through_json(confidence_filter.handler(classified, None)) == classified


def test_a_captured_request_has_the_id_of_its_execution_and_try(endpoint: Stubber) -> None:
    name = f"{'x' * 50}-{'y' * 29}.0"  # an execution's name may have 80 characters, an InferenceId 64
    answered(endpoint, b"[1.0, 0]", InferenceId=name[-64:])
    assert invoke_classifier.handler({**IMAGE, "inference_id": name}, None)["inferences"] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("code", "status", "error", "words"),
    [
        ("NoSuchKey", 404, "ImageMissingError", "s3://vehicles/test/bike.png does not exist"),
        ("NoSuchBucket", 404, "ImageMissingError", "s3://vehicles/test/bike.png does not exist"),
        ("AccessDenied", 403, "AccessDeniedError", "s3://vehicles/test/bike.png may not be read"),
        ("SlowDown", 503, "StorageUnavailableError", "SlowDown"),
        ("InternalError", 500, "StorageUnavailableError", "InternalError"),
        ("RequestTimeout", 400, "StorageUnavailableError", "RequestTimeout"),
        ("InvalidRequest", 400, "StorageRefusedError", "s3://vehicles/test/bike.png can't be read: .*InvalidRequest"),
        ("PermanentRedirect", 301, "StorageRefusedError", "PermanentRedirect"),
    ],
)
def test_errors_of_s3_have_a_name_and_name_the_object(
    s3: Stubber, code: str, status: int, error: str, words: str
) -> None:
    s3.add_client_error("get_object", code, http_status_code=status)
    with pytest.raises(getattr(serialize_image_data, error), match=words):
        serialize_image_data.handler(EVENT, None)


def test_the_largest_picture_that_is_accepted_fits_between_two_states(s3: Stubber) -> None:
    stored(s3, (PNG + bytes(300_000))[: serialize_image_data.LARGEST])
    serialized = serialize_image_data.handler(EVENT, None)
    assert len(json.dumps({**serialized, "inferences": [1 / 3] * 100})) < 256 * 1024


@pytest.mark.parametrize(
    "event", [{}, {"s3_bucket": "b"}, {"s3_bucket": "b", "s3_key": ""}, {"s3_bucket": 1, "s3_key": "k"}]
)
def test_an_event_without_an_object_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(serialize_image_data.InvalidEventError, match="s3_(bucket|key) = .* expected a non-empty text"):
        serialize_image_data.handler(event, None)


@pytest.mark.parametrize(
    ("code", "status", "original", "error"),
    [
        ("ModelError", 424, 400, "ImageRefusedError"),
        ("ModelError", 424, 500, "EndpointUnavailableError"),
        ("ModelError", 424, 0, "EndpointUnavailableError"),
        ("ModelNotReadyException", 429, None, "EndpointUnavailableError"),
        ("ThrottlingException", 400, None, "EndpointThrottledError"),
        ("InternalFailure", 500, None, "EndpointUnavailableError"),
        ("ServiceUnavailable", 503, None, "EndpointUnavailableError"),
        ("AccessDeniedException", 403, None, "AccessDeniedError"),
        ("ValidationError", 400, None, "EndpointRefusedError"),
    ],
)
def test_errors_of_the_endpoint_have_a_name_and_name_the_endpoint(
    endpoint: Stubber, code: str, status: int, original: int | None, error: str
) -> None:
    fields = {} if original is None else {"OriginalStatusCode": original}
    endpoint.add_client_error("invoke_endpoint", code, "why", http_status_code=status, modeled_fields=fields)
    with pytest.raises(getattr(invoke_classifier, error), match=f"endpoint vehicles: .*{code}.*why"):
        invoke_classifier.handler(IMAGE, None)


NO_ANSWER = [
    (EndpointConnectionError(endpoint_url="https://aws"), "Unavailable"),
    (ReadTimeoutError(endpoint_url="https://aws"), "Unavailable"),
    (ResponseStreamingError(error="cut off"), "Unavailable"),
    (IncompleteReadError(actual_bytes=1, expected_bytes=2), "Unavailable"),
    (NoCredentialsError(), "Refused"),
]


@pytest.mark.parametrize(("error", "kind"), NO_ANSWER, ids=lambda one: type(one).__name__)
def test_a_missing_answer_is_a_retryable_error_unless_there_are_no_credentials(
    s3: Stubber, endpoint: Stubber, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str
) -> None:
    fail = Mock(side_effect=error)
    monkeypatch.setattr(s3.client, "get_object", fail)
    storage_error = getattr(serialize_image_data, f"Storage{kind}Error")
    with pytest.raises(storage_error, match=f"s3://vehicles/test/bike.png.*: {error}"):
        serialize_image_data.handler(EVENT, None)
    monkeypatch.setattr(endpoint.client, "invoke_endpoint", fail)
    with pytest.raises(getattr(invoke_classifier, f"Endpoint{kind}Error"), match=f"endpoint vehicles: .*{error}"):
        invoke_classifier.handler(IMAGE, None)


@pytest.mark.parametrize("bucket", ["my bucket", "s3://vehicles", "a/b"])
def test_an_invalid_bucket_name_is_refused_at_once(monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    monkeypatch.setattr(serialize_image_data, "storage", lambda: client)
    with pytest.raises(
        serialize_image_data.StorageRefusedError, match=rf"s3://{bucket}/k can't be read: (.|\n)*Invalid"
    ):
        serialize_image_data.handler({"s3_bucket": bucket, "s3_key": "k"}, None)


@pytest.mark.parametrize(
    "path", [*sorted(artifacts.FUNCTIONS.glob("*.py")), *artifacts.IMPORTED], ids=lambda path: path.name
)
def test_a_function_imports_only_what_lambda_has(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(str(node.module).split(".")[0])
    beside = {"answer", "drift", "png", "stages"}  # a module in the same zip, or in the project
    assert imported <= sys.stdlib_module_names | {"boto3", "botocore"} | beside


NO_DISTRIBUTION = [
    (None, "found None, expected a list of probabilities"),
    ([], "expected a list of probabilities"),
    ([0.97], "expected a list of probabilities, at least 2"),
    (["0.97", "0.03"], "found 0.97 in .*, expected numbers"),
    ([True, False], "found True in .*, expected numbers"),
    ([None, 0.97], "found None in .*, expected numbers"),
    ([float("nan"), 0.97], "found nan in .*, expected probabilities from 0 to 1"),
    ([float("inf"), 0], "found inf in"),
    ([97, 3], "found 97 in .*, expected probabilities from 0 to 1"),
    ([1.03, -0.03], "found 1.03 in"),
    ([-0.0001, 1], "found -0.0001 in"),
    ([0.97, 0.97], "with a sum of 1.94, expected a sum of 1"),
    ([0.96, 0.03], "with a sum of 0.99, expected a sum of 1"),
    ([0, 0], "with a sum of 0, expected a sum of 1"),
]


@pytest.mark.parametrize(
    "body",
    [
        *(json.dumps(values).encode() for values, _ in NO_DISTRIBUTION),
        b"",
        b"oops",
        b"{}",
        b"[[0.9, 0.1], [0.2, 0.8]]",
        b'{"classes": ["a", "b", "c"], "probabilities": [[0.9, 0.1]]}',
        b'{"probabilities": [[0.9, 0.1], [0.8, 0.2]]}',
        b'{"probabilities": [[0.9, 0.1]], "known": ["no"]}',
        b"[" * 9999,
        b"\xff",
    ],
)
def test_an_answer_that_is_no_list_of_probabilities_is_refused(endpoint: Stubber, body: bytes) -> None:
    answered(endpoint, body)
    with pytest.raises(invoke_classifier.InvalidAnswerError, match="the endpoint answered"):
        invoke_classifier.handler(IMAGE, None)


@pytest.mark.parametrize("image", [None, "", "not base64!", 17, "ä"])
def test_an_event_without_a_picture_is_refused(image: object) -> None:
    with pytest.raises(invoke_classifier.InvalidEventError, match="image_data"):
        invoke_classifier.handler({"image_data": image}, None)


@pytest.mark.parametrize(
    "body",
    [
        b"[0.97, 0.03]",
        b"[[0.97, 0.03]]",
        b'{"probabilities": [[0.97, 0.03]]}',
        b'{"classes": ["a", "b"], "probabilities": [[0.97, 0.03]], "more": 1}',
    ],
)
def test_a_model_without_a_familiarity_is_judged_by_its_confidence(endpoint: Stubber, body: bytes) -> None:
    answered(endpoint, body)
    classified = invoke_classifier.handler({**EVENT, **IMAGE}, None)
    assert (classified["inferences"], classified["known"]) == ([0.97, 0.03], None)
    assert confidence_filter.handler(through_json(classified), None) == classified


def test_an_event_that_says_neither_known_nor_unknown_is_refused() -> None:
    with pytest.raises(confidence_filter.InvalidEventError, match="known = no: expected true, false or null"):
        confidence_filter.handler({**EVENT, "inferences": [0.99, 0.01], "known": "no"}, None)


@pytest.mark.parametrize(
    ("inferences", "words"),
    [
        *NO_DISTRIBUTION,
        ("[0.97, 0.03]", "expected a list of probabilities"),
        ({"probabilities": [0.97, 0.03]}, "expected a list of probabilities"),
        ([[0.97, 0.03]], "expected a list of probabilities"),
    ],
)
def test_an_event_without_a_probability_distribution_is_refused_without_a_metric(
    inferences: object, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(confidence_filter.InvalidEventError, match=f"inferences: .*{words}"):
        confidence_filter.handler({**EVENT, "inferences": inferences}, None)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("inferences", [[0.97], [0.97, 0.02, 0.01], []])
def test_another_number_of_probabilities_than_the_models_classes_is_refused(
    inferences: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLASSES", "2")
    assert confidence_filter.handler({**EVENT, "inferences": [0.97, 0.03]}, None)["inferences"] == [0.97, 0.03]
    with pytest.raises(confidence_filter.InvalidEventError, match="expected a list of probabilities, 2 of them"):
        confidence_filter.handler({**EVENT, "inferences": inferences}, None)


LOW = "ThresholdConfidenceNotMet", "confidence 0.939900 is below the threshold 0.94"
UNKNOWN = "UnknownPictureError", "resembles none of the classes"


@pytest.mark.parametrize(
    ("inferences", "known", "error", "low", "unknown"),
    [
        ([0.94, 0.06], True, None, 0, 0),
        ([0.0, 1], None, None, 0, 0),
        ([0.02, 0.03, 0.95], None, None, 0, 0),
        ([0.0601, 0.9399], None, LOW, 1, 0),
        ([0.6, 0.4], False, UNKNOWN, 1, 1),
        ([0.99, 0.01], False, UNKNOWN, 0, 1),
    ],
)
def test_a_picture_passes_if_it_is_known_and_its_confidence_reaches_the_threshold_and_both_are_logged_as_metrics(
    inferences: list[float],
    known: bool | None,
    error: tuple[str, str] | None,
    low: int,
    unknown: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    event = {**EVENT, "inferences": inferences, "known": known}
    if error:
        with pytest.raises(getattr(confidence_filter, error[0]), match=error[1]):
            confidence_filter.handler(event, None)
    else:
        assert confidence_filter.handler(event, None) == event
    line = json.loads(capsys.readouterr().out)
    metrics = [{"Name": name, "Unit": "None"} for name in ("LowConfidence", "Unknown")]
    told = [{"Namespace": "Scones", "Dimensions": [["Workflow"]], "Metrics": metrics}]
    assert line["_aws"]["CloudWatchMetrics"] == told
    assert (line["Workflow"], line["LowConfidence"], line["Unknown"]) == ("scones-workflow", low, unknown)
