"""Requests that a server keeps: all four models in one form, bounded, private, and never at the cost of an answer."""

import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Run
from model_servers import Served, exports, server, until

from stages import projects
from stages.common.errors import InputError
from stages.engine.aws import captures
from stages.engine.aws.captures import Record
from stages.serving.capture import Captures

INFERENCE = """
import json
CONTENT_TYPES = ("image/*", "text/csv", "application/json", "application/octet-stream")
def model_fn(model_dir):
    return None
def input_fn(body, content_type):
    if body == b"unreadable":
        raise ValueError("this can't be read")
    return body
def predict_fn(item, model):
    return len(item)
def output_fn(prediction, accept):
    return f"size,{prediction}" if accept == "text/csv" else json.dumps({"predictions": [{"size": prediction}]})
"""
TOKEN = "open-sesame-open-sesame"
SENT = {
    "bikes": ("text/csv", b"datetime,temp\n2012-05-15 17:00:00,20\n"),
    "landmarks": ("image/jpeg", b"\xff\xd8\xff\x00any bytes"),
    "mnist": ("application/json", b'{"images": []}'),
    "scones": ("image/png", b"\x89PNG\r\n\x1a\n"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return exports(tmp_path, INFERENCE, *projects.names())


def kept(folder: Path) -> list[Record]:
    return captures.read(captures.fetch(str(folder))[0], lambda one: one).records


def send(served: Served, project: str, body: bytes | None = None, accept: str = "*/*") -> int:
    content_type, own = SENT[project]
    headers = {"Content-Type": content_type, "Accept": accept, "Authorization": f"Bearer {TOKEN}"}
    with served.client(headers=headers) as client:
        return client.post(f"/models/{project}/invocations", content=own if body is None else body).status_code


def test_requests_of_all_models_are_kept_unchanged_and_private_and_the_oldest_are_deleted_first(folder: Path) -> None:
    place = folder / "kept"
    with server(folder, "--token", TOKEN, f"--capture={place}") as served:
        assert [send(served, project) for project in SENT] == [200] * 4
        assert send(served, "bikes", accept="text/csv") == 200
        assert send(served, "bikes", b"unreadable") == 400
    records = kept(place)
    assert [(one.content_type, one.body) for one in records] == [*SENT.values(), SENT["bikes"]]
    answers = [(one.answer_type, one.answer) for one in records[2:]]
    verbose = "application/json; verbose=true"
    assert answers[:2] == [(verbose, b'{"predictions": [{"size": 14}]}'), (verbose, b'{"predictions": [{"size": 8}]}')]
    assert answers[2] == ("text/csv", b"size,37")
    assert sorted(path.name for path in place.iterdir()) == list(projects.names())
    paths = list(place.glob("*/*"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (place, *place.iterdir())} == {0o700}
    for path in paths:
        text = path.read_text()
        assert TOKEN not in text
        assert "127.0.0.1" not in text
    own = place / "bikes" / "own.jsonl"
    own.write_text("")  # of somebody else: it is not deleted
    (place / "mnist" / ".20260101T000000000000Z-0.jsonl.partial").touch()
    with server(folder, "--token", TOKEN, f"--capture={place}", "--capture-requests=3") as served:
        assert send(served, "mnist") == 200
        with pytest.raises(InputError, match="another server keeps its requests"):
            Captures(place, 3, 1000)
        until(lambda: set(place.glob("*/2*.jsonl")) - set(paths))  # it is written after the oldest are deleted
        served.process.send_signal(signal.SIGKILL)
        served.process.wait()
        # What is kept by one that is killed is whole.
    assert own.exists()
    own.unlink()
    assert [(one.content_type, one.body) for one in kept(place)] == [SENT["scones"], SENT["bikes"], SENT["mnist"]]
    assert not list(place.glob("*/.*"))


def test_a_request_that_cannot_be_kept_is_still_answered(folder: Path) -> None:
    place = folder / "kept"
    with server(folder, "--token", TOKEN, f"--capture={place}", "--capture-megabytes=0.001") as served:
        (place / "mnist").touch()  # so the folder can't be made, as on a disk that is full
        assert [send(served, "mnist") for _ in range(3)] == [200] * 3
        until(lambda: served.log.read_text().count("request not kept: ") == 1)
        assert send(served, "scones") == 200
        assert send(served, "scones", bytes(1000)) == 200
        until(lambda: "larger than --capture-megabytes" in served.log.read_text())
    assert [one.body for one in kept(place)] == [SENT["scones"][1]]


@pytest.mark.parametrize("made", [Path.touch, lambda path: path.symlink_to("nowhere/else")])
def test_an_unusable_folder_is_reported_in_one_line(folder: Path, python: Run, made: Callable[[Path], None]) -> None:
    made(folder / "kept")
    done = python("-m", "stages.serving", "--port=0", "--no-page", "--capture=kept", cwd=folder)
    words = "error: can't keep requests in kept: File exists: choose another folder\n"
    assert (done.returncode, done.stderr) == (1, words)


def test_the_size_of_all_kept_requests_is_bounded(tmp_path: Path) -> None:
    found = Captures(tmp_path / "kept", 100, 2500)
    for number in range(10):
        found.keep("mnist", "image/png", bytes([number]) * 600, "text/csv", b"1")
    found.close()
    records = kept(tmp_path / "kept")
    assert [one.body[0] for one in records] == [8, 9]
    assert sum(path.stat().st_size for path in (tmp_path / "kept").glob("*/*")) <= 2500
