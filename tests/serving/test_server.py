"""The whole server, `python -m stages.serving`, and its client: as users start and ask it, on models that are tiny fakes."""

import argparse
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from conftest import Run
from model_servers import Served, archive, in_this_process, load, measurements, record, refused, server, shared, until
from pictures import saved
from PIL import Image

from stages.common import clocks, files
from stages.common.errors import InputError
from stages.serving import exports, process
from stages.serving.__main__ import arguments
from stages.serving.access import HEADERS, Rules
from stages.serving.api import application
from stages.serving.client import content_type, lines
from stages.serving.client import main as ask_files
from stages.serving.container import server as container_server
from stages.serving.container.batching import Limits
from stages.serving.container.body import BodyLimits
from stages.serving.models import Models, predictions

PICTURE = """
import io, json, os, signal, time
from PIL import Image
CONTENT_TYPES = ("image/*", "application/octet-stream")
CLASSES = ["no", "maybe", "yes"]
def model_fn(model_dir):
    return None
def input_fn(body, content_type):
    try:
        return Image.open(io.BytesIO(body)).convert("RGB").getpixel((0, 0))
    except OSError as error:
        raise ValueError(f"the body is no picture: {error}")
def batch_fn(items, model):
    if any(green == 1 for red, green, blue in items):
        time.sleep(0.5)
    for red, green, blue in items:
        if green == 2:
            raise RuntimeError("the cause of it")
        if green == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if green == 4:
            time.sleep(30)
    return [[(255 - red) / 255, blue / 255, (red - blue) / 255] for red, green, blue in items]
def predict_fn(item, model):
    return batch_fn([item], model)[0]
def output_fn(prediction, accept):
    answer = {"classes": CLASSES, "probabilities": [prediction]}
    return json.dumps(answer | PLACES if "verbose" in accept else prediction)
PLACES = {}
"""
"""As sure of yes as the picture is red and not blue. Green says what else happens, see below."""

SLOW, FAILS, DIES, HANGS = 1, 2, 3, 4

LANDMARKS = PICTURE.replace("PLACES = {}", 'PLACES = {"places": [[1.5, -2.25], [None, None], [0.0, 0.0]]}')

HOURS = """
import csv, io, json
CONTENT_TYPES = ("text/csv", "application/json")
def model_fn(model_dir):
    return None
def input_fn(body, content_type):
    text = body.decode()
    rows = json.loads(text) if content_type.startswith("application/json") else list(csv.DictReader(io.StringIO(text)))
    if not rows or any("datetime" not in row for row in rows):
        raise ValueError("expected the column datetime")
    return rows
def predict_fn(rows, model):
    return [{"datetime": row["datetime"], "count": 10.5 * int(row["datetime"][11:13])} for row in rows]
def output_fn(prediction, accept):
    if accept == "text/csv":
        return "datetime,count\\n" + "".join(f"{row['datetime']},{row['count']}\\n" for row in prediction)
    return json.dumps({"predictions": prediction, "warnings": ["windy (1 hour)"]} if "verbose=true" in accept else prediction)
"""

CODE = {"bikes": HOURS, "mnist": PICTURE, "landmarks": LANDMARKS, "scones": PICTURE}
CSV = b"datetime,season\n2011-01-20 01:00:00,1\n2011-01-20 03:00:00,1\n"
JSON = b'[{"datetime": "2011-01-20 01:00:00"}, {"datetime": "2011-01-20 03:00:00"}]'
RIDERS = [{"datetime": "2011-01-20 01:00:00", "count": 10.5}, {"datetime": "2011-01-20 03:00:00", "count": 31.5}]
TOKEN = {"Authorization": "Bearer open-sesame"}


def picture(red: int, green: int = 0, blue: int = 0) -> bytes:
    return saved(Image.new("RGB", (4, 4), (red, green, blue)), "PNG")


def export(folder: Path, *projects: str, **code: str) -> Path:
    """Fakes of ``projects`` under ``folder``, and what `dvc repro` would have recorded of them."""
    for project in projects:
        archive(folder / "models" / project / "export", code.get(project, CODE[project]))
    return record(folder)


def predict(client: httpx.Client, content: bytes, project: str = "mnist", **more: Any) -> httpx.Response:
    return client.post(f"/models/{project}/invocations", content=content, **more)


def top(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    (prediction,) = response.json()["predictions"]
    found: list[dict[str, Any]] = prediction["top"]
    return found


# What is served


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Bikes, mnist and landmarks; scones was not exported."""
    folder = export(tmp_path_factory.mktemp("server"), "bikes", "mnist", "landmarks")
    with server(folder, "--max-megabytes=0.01") as one:
        yield one


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with served.client(headers={"Content-Type": "image/png"}) as one:
        yield one


def test_the_server_starts_with_the_existing_exports_and_names_commands_for_missing_ones(
    served: Served, client: httpx.Client
) -> None:
    log = served.log.read_text()
    assert f"Serving bikes, landmarks, mnist on {served.address}  (documentation: {served.address}/docs)" in log
    why = "models/scones/export/model.tar.gz is missing: `dvc repro export@scones` makes it"
    assert f"not served: scones: {why}" in log
    assert refused(predict(client, picture(0), "scones"), 404, "not_exported") == why
    assert client.get("/models").json()["missing"] == {"scones": why}


def test_the_catalogue_lists_served_models_and_their_metrics(client: httpx.Client) -> None:
    bikes, landmarks, mnist = client.get("/models").json()["models"]
    assert mnist == {
        "project": "mnist",
        "title": "Handwritten digits",
        "status": "ready",
        "message": None,
        "version": mnist["version"],
        "metrics": {"data": "sample", "accuracy": 0.5, "parameters": 10},
        "accepts": ["image/*", *(f"application/{kind}" for kind in ("x-image", "octet-stream", "x-npy", "json"))],
        "invocations": "/models/mnist/invocations",
    }
    assert bikes["accepts"] == ["text/csv", "application/json"]
    assert len({one["version"] for one in (bikes, mnist, landmarks)}) == 3


def test_a_version_is_what_dvc_would_record(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    folder = tmp_path / "models" / "p" / "export"
    for name in ("model.tar.gz", "a/b", "a.b", "a-b/c/d", "z/é ü", "empty", "A"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name if name != "empty" else "")
    program = "import sys; from dvc.repo import Repo; Repo.init(); Repo().add(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, folder], cwd=tmp_path, check=True, capture_output=True)
    (recorded,) = yaml.safe_load((folder.parent / "export.dvc").read_text())["outs"]
    assert recorded["md5"] == clocks.digest(folder)
    assert recorded["nfiles"] == 7


def test_a_changed_export_is_neither_served_nor_opened(tmp_path: Path, python: Run) -> None:
    export(tmp_path, "mnist", "bikes")
    opened = tmp_path / "opened"
    archive(tmp_path / "models" / "bikes" / "export", f"open({str(opened)!r}, 'w').close()\n" + HOURS)
    (tmp_path / "models" / "mnist" / "export" / "more").touch()
    done = python("-m", "stages.serving", "--port=0", "--no-page", cwd=tmp_path)
    assert done.returncode == 1
    for project in ("mnist", "bikes"):
        words = f"models/{project}/export does not match dvc.lock: run `dvc repro export@{project}` to make it again"
        assert words in done.stderr
    assert not opened.exists()


LOCK, METRICS = "dvc.lock", "reports/mnist/metrics.json"
NO_ENTRY = f"{LOCK} has no entry for models/mnist/export"
STRANGE = f"{LOCK} is not as DVC writes it"
NO_METRIC = f"{METRICS} has no entry data, or none of accuracy"
DAMAGED: list[tuple[str, str | bytes | None, str]] = [  # the file, its content if it is there, what is said
    (LOCK, None, f"{LOCK} is missing: `dvc repro export@mnist` makes it"),
    (LOCK, "stages: {}", NO_ENTRY),
    (LOCK, "", NO_ENTRY),
    (LOCK, b"\xff\0", f"{LOCK} can't be read"),
    (LOCK, "<<<<<<< HEAD\na: [\n", f"{LOCK} can't be read"),
    *((LOCK, text, STRANGE) for text in ("[1, 2]", "text", "5", "stages: []", "stages:", "stages: {export@mnist: []}")),
    *((LOCK, f"stages: {{export@mnist: {{outs: {outs}}}}}", STRANGE) for outs in ("5", "[text]")),
    *(
        (LOCK, f"stages: {{export@mnist: {{outs: [{{{out}}}]}}}}", STRANGE)
        for out in ("path: models/mnist/export", "md5: a")
    ),
    (METRICS, None, f"{METRICS} is missing: `dvc repro evaluate@mnist` makes it"),
    *((METRICS, text, f"{METRICS} can't be read") for text in ("", "<<<<<<< HEAD", "[" * 100_000)),
    *((METRICS, f'{{"data": "x", "accuracy": {value}}}', f"{METRICS} can't be read") for value in ("NaN", "1e999")),
    (METRICS, '{"data": "\\ud800", "accuracy": 0.5}', f"{METRICS} can't be read"),
    *((METRICS, text, f"{METRICS}: expected an object") for text in ("[]", "null")),
    *((METRICS, text, NO_METRIC) for text in ("{}", '{"data": 5}', '{"data": "x"}')),
    *((METRICS, f'{{"data": "x", "accuracy": {value}}}', NO_METRIC) for value in ('"high"', "[1]")),
    ("reports/mnist/details.json", "5", "reports/mnist/details.json: expected an object"),
]


@pytest.mark.parametrize(("name", "content", "words"), DAMAGED)
def test_an_invalid_export_is_reported_as_missing_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str | bytes | None, words: str
) -> None:
    path = export(tmp_path, "mnist") / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    monkeypatch.chdir(tmp_path)
    found, missing = exports.find(["mnist"])
    assert found == {}
    assert words in missing["mnist"]
    assert "`dvc repro " in missing["mnist"]


# How it does not start


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--project=scones", "there is no model to serve: models/scones/export/model.tar.gz is missing: `dvc repro"),
        ("--host=0.0.0.0", "set --token or SERVING_TOKEN"),
        ("--token=short", "the token is invalid: expected 8 or more"),
        ("--token=ünicöde-and-more", "the token is invalid: expected 8 or more"),
        ("--token=open-sesame --host=203.0.113.1", "can't listen on 203.0.113.1 port 0: "),
        ("--token=open-sesame --host=nowhere.invalid", "can't listen on nowhere.invalid port 0: "),
        ("--port=70000", "can't listen on 127.0.0.1 port 70000: "),
        ("--port=TAKEN", "can't listen on 127.0.0.1 port TAKEN: "),
    ],
)
def test_a_server_that_cannot_start_reports_the_reason_in_one_line(
    served: Served, python: Run, arguments: str, words: str
) -> None:
    port = served.address.rsplit(":", 1)[1]
    options = arguments.replace("TAKEN", port).split()
    done = python("-m", "stages.serving", "--no-page", "--port=0", *options, cwd=served.log.parent)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert words.replace("TAKEN", port) in done.stderr
    assert done.stderr.endswith("; choose another one with --port or --host\n") == ("can't listen" in words)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--max-batch=0", "expected 1 to 1024"),
        ("--queue=0", "expected 1 to 100000"),
        ("--queue=1000000000", "expected 1 to 100000"),
        *((f"--timeout={value}", "expected 0.1 to 3600") for value in ("0", "nan", "1e300")),
        *((f"--max-megabytes={value}", "expected 0.001 to 1000") for value in ("-1", "1e30", "1001")),
        ("--rate=-1", "expected 0 to 1e+06"),
        ("--wait-ms=-1", "expected 0 to 1000"),
        *((f"--proxy={value}", "expected an address or a network") for value in ("proxy.example.org", "*")),
        ("--allowed-host=https://models.example.org", "expected a name without scheme and port"),
        ("--allowed-host=*", "expected a name without scheme and port"),
        *((f"--root-path={value}", "expected a path such as /models") for value in ("ml", "//evil")),
    ],
)
def test_an_invalid_argument_is_refused_with_a_message(
    capsys: pytest.CaptureFixture[str], argument: str, words: str
) -> None:
    parser = argparse.ArgumentParser()
    arguments(parser)
    with pytest.raises(SystemExit) as refusal:
        parser.parse_args([argument])
    assert refusal.value.code == 2
    name, _, value = argument.partition("=")
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {name}: found {value}: " in last
    assert words in last


# What it answers


def test_the_most_probable_classes_come_first_and_top_says_how_many(client: httpx.Client) -> None:
    response = predict(client, picture(204, blue=51))
    answer = response.json()
    assert (answer["project"], len(answer["version"])) == ("mnist", 32)
    assert 0 < answer["milliseconds"] < 10_000
    likely = top(response)
    assert [one["class"] for one in likely] == ["yes", "no", "maybe"]
    assert [one["probability"] for one in likely] == pytest.approx([0.6, 0.2, 0.2])
    assert [one["class"] for one in top(predict(client, picture(0), params={"top": 1}))] == ["no"]
    assert len(top(predict(client, picture(0), params={"top": 1000}))) == 3


def test_probabilities_become_rows_of_classes_in_falling_order() -> None:
    answer = {"classes": list("abc"), "probabilities": [[0.1, 0.7, 0.2], [0.5, 0.5, 0.0]]}
    first, second = predictions(answer, 2)
    assert first == {"top": [{"class": "b", "probability": 0.7}, {"class": "c", "probability": 0.2}]}
    assert [one["class"] for one in second["top"]] == ["a", "b"]  # of equals the first one first
    assert len(predictions(answer, None)[0]["top"]) == 3
    first, second = predictions(answer | {"known": [True, False], "familiarity": [0.25, -0.5]}, 1)
    assert (first["known"], first["familiarity"]) == (True, 0.25)
    assert (second["known"], second["familiarity"]) == (False, -0.5)
    assert predictions(RIDERS, 5) == RIDERS  # of a release without warnings


def test_landmarks_have_coordinates_and_null_for_unknown_ones(client: httpx.Client) -> None:
    classes = top(predict(client, picture(9), "landmarks"))
    places = {one["class"]: (one["latitude"], one["longitude"]) for one in classes}
    assert places == {"no": (1.5, -2.25), "maybe": (None, None), "yes": (0.0, 0.0)}


@pytest.mark.parametrize(
    ("project", "query", "words"),
    [
        *(("mnist", {"top": one}, f"found top = '{one}', expected a whole number from 1 to 1000") for one in ("0", "-1", "1001", "x", "1.5", "")),
        ("mnist", {"several": "banana"}, "found several = 'banana', expected true or false"),
        ("mnist", {"severl": "true"}, "found 'severl', expected top or several or evidence"),
        ("bikes", {"several": "true"}, "found several for bikes, expected it only for landmarks, mnist"),
    ],
)  # fmt: skip
def test_an_invalid_query_parameter_is_refused(
    client: httpx.Client, project: str, query: dict[str, str], words: str
) -> None:
    message = refused(predict(client, picture(0), project, params=query), 422, "invalid_parameter")
    assert message == f"query parameter: {words}"


def test_hours_come_as_csv_or_json_and_are_answered_as_either(client: httpx.Client) -> None:
    for body, kind in ((CSV, "text/csv; charset=utf-8"), (JSON, "application/json")):
        answer = predict(client, body, "bikes", headers={"Content-Type": kind})
        assert answer.json()["predictions"] == RIDERS
        assert answer.json()["warnings"] == ["windy (1 hour)"]
        table = predict(client, body, "bikes", headers={"Content-Type": kind, "Accept": "text/csv"})
        assert table.headers["content-type"] == "text/csv; charset=utf-8"
        assert table.headers["x-model-version"] == answer.json()["version"]
        assert table.text == "datetime,count\n2011-01-20 01:00:00,10.5\n2011-01-20 03:00:00,31.5\n"


def test_a_refusal_is_json_with_a_code(served: Served, client: httpx.Client) -> None:
    assert "'nothing'" in refused(predict(client, b"", "nothing"), 404, "not_found")
    refused(client.get("/models/mnist/invocations"), 405, "method_not_allowed")
    assert "no picture" in refused(predict(client, b"nonsense"), 400, "unreadable")
    refused(predict(client, b""), 400, "unreadable")
    refused(predict(client, b"x", headers={"Content-Type": "text/plain"}), 415, "unsupported_type")
    assert "cause of it" not in refused(predict(client, picture(0, FAILS)), 500, "internal")
    until(lambda: "RuntimeError: the cause of it" in served.log.read_text())
    refused(predict(client, 10_001 * b"x"), 413, "too_large")
    refused(predict(client, (100 * b"x" for _ in range(101))), 413, "too_large")  # type: ignore[arg-type]
    assert top(predict(client, picture(0)))


def test_a_body_without_a_content_type_is_a_picture(served: Served) -> None:
    with served.client() as client:
        assert top(predict(client, picture(255)))[0]["class"] == "yes"


def test_every_answer_has_the_headers_that_protect_its_reader(client: httpx.Client) -> None:
    answers = [
        *map(client.get, ("/ping", "/models", "/metrics", "/docs", "/nothing", "/")),
        client.get("/models", headers={"Host": "example.org"}),
        *(predict(client, body) for body in (picture(0), b"nonsense", 10_001 * b"x")),
        predict(client, picture(0), params={"top": 0}),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 404, 307, 403, 200, 400, 413, 422]
    for answer in answers:
        assert HEADERS.items() <= {name: answer.headers.get(name) for name in HEADERS}.items()
        assert "server" not in answer.headers


def test_the_description_and_the_documentation_ask_no_other_host(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) == {"/ping", "/models", "/metrics", "/models/{project}/invocations"}
    page = client.get("/docs").text
    sources = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)["']""", page)
    assert len(sources) >= 3
    for source in sources:
        assert source.startswith("/")
        assert not source.startswith("//")
        assert client.get(source).status_code == 200


def test_metrics_count_requests_by_their_status_and_time_the_models(served: Served, client: httpx.Client) -> None:
    before = measurements(client)
    for body in (picture(0), picture(0), b"nonsense", picture(0, FAILS)):
        predict(client, body)
    head = b"POST /models/mnist/invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nhalf"
    with served.connect() as connection:
        connection.sendall(head)
        connection.shutdown(socket.SHUT_WR)

    def more(*name: str) -> float:
        return measurements(client)[name] - before.get(name, 0)

    until(lambda: more("serving_requests_total", "model=mnist", "status=400") == 2)
    assert more("serving_requests_total", "model=mnist", "status=200") == 2
    assert more("serving_requests_total", "model=mnist", "status=500") == 1
    assert more("serving_model_seconds_count", "model=mnist") == 2
    assert more("serving_batch_requests_count", "model=mnist") == 2
    assert measurements(client)["serving_model_ready", "model=mnist"] == 1
    assert measurements(client)["process_resident_memory_bytes",] > 1e6


def test_simultaneous_requests_are_batched_and_each_gets_its_own_answer(served: Served) -> None:
    def ask(red: int) -> tuple[int, float]:
        with served.client() as client:
            answer = top(predict(client, picture(red, SLOW if red == 255 else 0), params={"top": 3}))
            return red, next(one["probability"] for one in answer if one["class"] == "yes")

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(255, 215, -1)))
    assert all(probability == pytest.approx(red / 255) for red, probability in answers)
    assert shared(served, "mnist") >= 10


# Who may ask


OTHER_HOSTS = ("example.org", "127.0.0.1.example.org", "example.org]", "[::2]", "localhost:80@example.org", "")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((host, 200) for host in ("localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]", "[::1]:8080")),
        *((host, 403) for host in OTHER_HOSTS),
    ],
)
def test_on_loopback_only_the_servers_own_host_names_are_allowed(served: Served, host: str, status: int) -> None:
    for path in ("/models", "/ping"):
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        assert served.said(request).startswith(f"HTTP/1.1 {status} ".encode())


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that lets others ask, with a token."""
    folder = export(tmp_path_factory.mktemp("guarded"), "mnist")
    with server(folder, "--host=0.0.0.0", wait=False, SERVING_TOKEN="open-sesame") as one:
        here = one._replace(address=one.address.replace("0.0.0.0", "127.0.0.1"))
        until(lambda: here.client().get("/ping").status_code == 200)
        yield here


def test_without_the_token_only_ping_is_answered(guarded: Served) -> None:
    with guarded.client() as client:
        for path in ("/models", "/metrics", "/docs", "/openapi.json", "/", "/nothing"):
            refused(client.get(path), 401, "unauthorised")
        refused(predict(client, picture(0)), 401, "unauthorised")
        for header in ("Bearer", "Bearer open", "Bearer open-sesame!", "Basic b3Blbjpz", "Bearer \xe9"):
            refused(client.get("/models", headers=[(b"Authorization", header.encode("latin-1"))]), 401, "unauthorised")
        assert client.get("/ping").status_code == 200
        refused(client.get("/models?token=wrong"), 401, "unauthorised")


def test_a_token_comes_as_a_header_or_by_an_address_that_leaves_a_cookie(guarded: Served) -> None:
    with guarded.client(headers=TOKEN) as client:
        assert client.get("/models", headers={"Host": "served.example.org"}).status_code == 200
        assert top(predict(client, picture(255)))[0]["class"] == "yes"
    with guarded.client() as client:
        response = client.get("/models?a=1&token=open-sesame&b=")
        assert (response.status_code, response.headers["location"]) == (303, "/models?a=1&b=")
        cookie = response.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert client.get("/models").status_code == 200
        assert top(predict(client, picture(255)))
    # Cookies of other servers on this host come along, some of them in a form that few parsers read.
    for more in ('a={"b": 1}', "a@b=1", "=", "a=\xff", "expires=1"):
        cookie_header = f"{more}; token=open-sesame".encode("latin-1")
        request = b"GET /models HTTP/1.1\r\nHost: h\r\nConnection: close\r\nCookie: " + cookie_header + b"\r\n\r\n"
        assert guarded.said(request).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("path", ["//example.org/a", "/%2fexample.org/a", "///example.org/a", "/\\example.org/a"])
def test_a_redirect_leads_to_this_server(guarded: Served, path: str) -> None:
    request = f"GET {path}?token=open-sesame HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = guarded.said(request.encode()).decode()
    assert answer.startswith("HTTP/1.1 303")
    (location,) = [line for line in answer.lower().splitlines() if line.startswith("location:")]
    assert not location.startswith(("location: //", "location: /\\", "location: http"))


@pytest.mark.parametrize("host", ["127.0.0.2", "::1"])
def test_every_name_of_this_machine_is_served_without_a_token(tmp_path: Path, host: str) -> None:
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with server(export(tmp_path, "mnist"), f"--host={host}", wait=False) as one, one.client() as client:
        assert client.get("/models").status_code == 200


# In this process, where limits can be short


def api(models: Models, rate: int = 0, **limits: Any) -> AbstractContextManager[Served]:
    return in_this_process(application(models, Rules(None, None, rate), BodyLimits(**limits)))


def test_requests_above_the_rate_limit_get_429_with_retry_after() -> None:
    with api(Models({}, {}, Limits()), rate=2) as one, one.client() as client:
        answers = [predict(client, b"x") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [404, 404, 429]
        refused(answers[-1], 429, "too_many_requests")
        assert answers[-1].headers["retry-after"] == "1"
        for _ in range(5):  # a page is made of many files, and whoever looks after the server asks as often as it likes
            assert client.get("/models").status_code == 200
        until(lambda: predict(client, b"x").status_code == 404)


def test_a_body_that_does_not_arrive_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_server, "HEADER_SECONDS", 0.3)
    missing = {"mnist": "it is not there"}
    with api(Models({}, missing, Limits()), seconds=0.3) as one:
        for length in (b"Content-Length: 100\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"):
            answer = one.said(b"POST /models/mnist/invocations HTTP/1.1\r\nHost: h\r\n" + length)
            assert answer.startswith(b"HTTP/1.1 408")
            assert b"x-content-type-options: nosniff" in answer.lower()
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "too_slow"


def test_a_defect_of_the_server_is_a_general_500_with_the_same_headers() -> None:
    class Broken(Models):
        async def predict(self, *arguments: Any, **options: Any) -> dict[str, Any]:
            raise RuntimeError("the cause of it")

    with api(Broken({}, {}, Limits())) as one, one.client() as client:
        answer = predict(client, b"x")
        assert "cause of it" not in refused(answer, 500, "internal")
        assert HEADERS.items() <= {name: answer.headers.get(name) for name in HEADERS}.items()
        assert 'serving_requests_total{model="mnist",status="500"} 1.0' in client.get("/metrics").text


# Models that load, die and hang


def test_while_models_are_loaded_or_fail_the_others_are_served(tmp_path: Path) -> None:
    """mnist is ready at once, scones when it may be. landmarks fails, and the archive of bikes is damaged."""
    slow = PICTURE.replace("return None", f"while not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.01)")
    broken = PICTURE.replace("return None", "raise SystemExit('no such weights')")
    place = export(tmp_path, *CODE, scones=slow, landmarks=broken) / "models/bikes/export/model.tar.gz"
    place.write_bytes(place.read_bytes()[:-300])
    with server(record(tmp_path), wait=False) as one, one.client() as client:
        status = {"bikes": "failed", "landmarks": "failed", "mnist": "ready", "scones": "loading"}
        until(lambda: client.get("/ping").json() == {"models": status})
        assert client.get("/ping").status_code == 503
        assert top(predict(client, picture(0)))
        for project, words in (("bikes", "can't be unpacked"), ("landmarks", "no such weights"), ("scones", "")):
            assert words in refused(predict(client, picture(0), project), 503, status[project])
        assert [about["status"] for about in client.get("/models").json()["models"]] == list(status.values())
        (tmp_path / "go").touch()
        until(lambda: client.get("/ping").status_code == 200)
        assert top(predict(client, picture(0), "scones"))
        until(lambda: one.log.read_text().count("bikes: models/bikes/export/model.tar.gz can't be unpacked") >= 2)
        assert "Traceback" not in one.log.read_text()


def test_a_restarted_model_is_the_one_that_was_checked(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with server(export(tmp_path, "mnist"), TMPDIR=str(temporary)) as one, one.client() as client:
        version = client.get("/models").json()["models"][0]["version"]
        evil = f"open({str(tmp_path / 'opened')!r}, 'w').close()\n" + PICTURE
        place = tmp_path / "models" / "mnist" / "export" / "model.tar.gz"

        def has_loaded(times: int) -> bool:
            return one.log.read_text().count("mnist is ready") == times

        exchanges: list[Callable[[], object]] = [
            lambda: shutil.rmtree(next(temporary.glob("stages-model-*"))),  # it is unpacked again
            lambda: archive(place.parent, evil),
            lambda: place.write_bytes(place.read_bytes()[:100]),
            place.unlink,
        ]
        for count, exchange in enumerate(exchanges, 2):
            exchange()
            (child,) = one.children()
            child.kill()
            until(partial(has_loaded, count))
            answer = predict(client, picture(255))
            assert (top(answer)[0]["class"], answer.json()["version"]) == ("yes", version)
        assert not (tmp_path / "opened").exists()


def test_an_archive_changed_after_the_check_is_refused_and_loaded_once_restored(tmp_path: Path) -> None:
    path = archive(tmp_path, PICTURE)
    content, md5 = path.read_bytes(), files.digest(path, "md5")
    model = process.ModelProcess(path, md5)
    try:
        archive(tmp_path, LANDMARKS)
        for _ in range(2):
            with pytest.raises(InputError, match="was changed after the server had checked it"):
                model.start()
        path.write_bytes(content)
        assert httpx.get(f"{model.start()}/ping").status_code == 200
    finally:
        model.stop()


@pytest.fixture(scope="module")
def shaky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = export(tmp_path_factory.mktemp("shaky"), "mnist", "scones")
    with server(folder, "--timeout=3", "--queue=4", "--max-batch=2") as one:
        yield one


def test_a_model_that_dies_is_loaded_again_and_meanwhile_others_go_on(shaky: Served) -> None:
    with shaky.client() as client, ThreadPoolExecutor(8) as pool:
        before = {child.pid for child in shaky.children()}
        assert len(before) == 2
        begin = time.monotonic()
        deadly = pool.submit(predict, client, picture(0, DIES))
        others = [pool.submit(predict, client, picture(0)) for _ in range(3)]
        refused(deadly.result(), 503, "stopped")
        assert time.monotonic() - begin < 2.5, "it waited for its time limit"
        for other in others:
            assert other.result().status_code in (200, 503)
        assert top(predict(client, picture(0), "scones"))
        while (answer := predict(client, picture(255))).status_code != 200:
            assert answer.json()["code"] in ("loading", "stopped")
            assert int(answer.headers["retry-after"]) >= 1
            time.sleep(0.02)
            assert time.monotonic() - begin < 30
        assert top(answer)[0]["class"] == "yes"
        assert len({child.pid for child in shaky.children()} & before) == 1


def test_a_model_that_hangs_is_restarted_after_the_time_limit(shaky: Served) -> None:
    with shaky.client() as client, ThreadPoolExecutor(16) as pool:
        until(lambda: client.get("/ping").status_code == 200)
        begin = time.monotonic()
        answers = [answer.result() for answer in [pool.submit(predict, client, picture(0, HANGS)) for _ in range(12)]]
        assert time.monotonic() - begin < 8
        assert {answer.status_code for answer in answers} == {429, 503}
        assert {"busy", "timeout"} <= {answer.json()["code"] for answer in answers} <= {"busy", "timeout", "stopped"}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
        assert top(predict(client, picture(0), "scones"))
        until(lambda: predict(client, picture(0)).status_code == 200)


# The end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_after_all_accepted_requests_are_answered(tmp_path: Path, number: int) -> None:
    statuses: list[int] = []
    ask = partial(predict, content=picture(0, SLOW))
    with ThreadPoolExecutor(6) as pool, server(export(tmp_path, "mnist", "bikes")) as one:
        children = one.children()
        assert len(children) == 2
        loads = [pool.submit(load, one.client(), ask, statuses) for _ in range(6)]
        until(lambda: statuses)
        assert one.stopped(number) < 10
        assert [load.result() for load in loads] == 6 * [[]]
        assert set(statuses) == {200}
        assert not [child for child in children if child.is_running()]
        assert "Traceback" not in one.log.read_text()


def test_a_signal_while_a_model_is_loaded_ends_it_at_once(tmp_path: Path) -> None:
    slow = PICTURE.replace("return None", "time.sleep(60)")
    with server(export(tmp_path, "mnist", mnist=slow), wait=False) as one:
        (child,) = until(one.children)
        assert one.stopped() < 10
        assert not child.is_running()


def test_a_killed_server_leaves_no_model_and_folders_that_the_next_one_removes(tmp_path: Path) -> None:
    place, folder = tmp_path / "temporary", export(tmp_path, "mnist", "bikes")
    place.mkdir()
    with server(folder, TMPDIR=str(place)) as one:
        children = one.children()
        assert len(children) == 2
        one.stopped(signal.SIGKILL)
        until(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children))
        left = set(place.glob("stages-model-*"))
        assert len(left) == 2
    with server(folder, TMPDIR=str(place)):
        assert not left & set(place.iterdir())
    assert not set(place.glob("stages-*"))


# The client


Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def program(served: Served, python: Run, tmp_path: Path) -> Program:
    """Runs the client where some files are."""
    for name, content in {"one.png": picture(255), "two.png": picture(0), "hours.csv": CSV, "hours.json": JSON}.items():
        (tmp_path / name).write_bytes(content)
    return partial(python, "-m", "stages.serving.client", "--address", served.address, cwd=tmp_path)


def test_the_client_shows_a_pictures_classes(program: Program) -> None:
    done = program("landmarks", "one.png", "--top", "2")
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows = done.stdout.splitlines()
    assert re.fullmatch(r"one\.png  \(landmarks [0-9a-f]{8}, [\d.]+ ms\)", head)
    assert len(rows) == 2
    assert re.fullmatch(r" +100.00%  yes +#{40}  0.0000, 0.0000", rows[0])


def test_the_client_continues_after_a_missing_file_and_reports_a_refusal(program: Program) -> None:
    done = program("landmarks", "one.png", "nothing.png", "two.png")
    assert (done.returncode, done.stderr) == (1, "error: nothing.png: No such file or directory\n")
    assert [line.split()[0] for line in done.stdout.splitlines() if "landmarks" in line] == ["one.png", "two.png"]
    done = program("scones", "one.png")
    assert done.returncode == 1
    assert "one.png: HTTP 404" in done.stderr
    assert "dvc repro export@scones" in done.stderr


@pytest.mark.parametrize("name", ["hours.csv", "hours.json"])
def test_the_client_reads_hours_and_writes_a_table(program: Program, name: str) -> None:
    done = program("bikes", name)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "datetime,count\n2011-01-20 01:00:00,10.5\n2011-01-20 03:00:00,31.5\n"


def test_the_client_reports_a_missing_server_in_one_line(program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    done = program("mnist", "one.png", "--address", address)
    words = f"error: {address} does not answer: start the server with `make serve`\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", words)


def test_the_client_names_the_type_of_a_file_and_refuses_an_address_without_scheme() -> None:
    names = ("a.npy", "a.JSON", "a.csv", "a.png", "-")
    found = [content_type("mnist", name) for name in names]
    assert found == ["application/x-npy", "application/json", "text/csv", *["application/octet-stream"] * 2]
    assert content_type("bikes", "-") == "text/csv"
    for address in ("127.0.0.1:8080", "localhost", "ftp://a", "http://", "http://a:port"):
        with pytest.raises(InputError, match="--address: found .*, expected http:// or https:// and a name"):
            ask_files("mnist", ["a.png"], address, None, 5, 1.0)


def test_the_client_takes_the_token_from_its_environment(
    guarded: Served, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = ("mnist", "one.png", "--address", guarded.address)
    assert "HTTP 401" in program(*ask).stderr
    monkeypatch.setenv("SERVING_TOKEN", "open-sesame")
    assert program(*ask).returncode == 0


def test_the_client_reports_a_picture_of_none_of_the_classes_and_no_unknown_coordinates() -> None:
    one: dict[str, Any] = {"class": "a", "probability": 0.5}
    answer = {"project": "scones", "version": "0123456789", "milliseconds": 1.26}
    strange = answer | {"predictions": [{"known": False, "familiarity": -0.5, "top": [one]}]}
    somewhere = answer | {"predictions": [{"top": [one | {"latitude": None, "longitude": None}]}]}
    head, likely = "x.png  (scones 01234567, 1.3 ms)", f"   50.00%  {'a':<24} {20 * '#'}"
    assert lines("x.png", strange) == [head, "  looks like none of the classes; if it were one of them:", likely]
    assert lines("x.png", somewhere) == [head, likely]
