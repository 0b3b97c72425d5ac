"""model.tar.gz: the same bytes for the same model, and a server that knows nothing of this repository."""

import inspect
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from conftest import ROOT, Started

from stages.common import bundle
from stages.common.program import InputError
from stages.scones import inference


class ToolkitError(Exception):
    """As sagemaker_inference.errors.BaseInferenceToolkitError."""

    def __init__(self, status_code: int, message: str, phrase: str) -> None:
        self.status_code = status_code
        self.message = message
        self.phrase = phrase
        super().__init__(status_code, message, phrase)


INFERENCE = (
    inspect.getsource(ToolkitError)
    + """
import importlib.util, json, sys
def model_fn(model_dir):
    return open(model_dir + "/weights").read()
def input_fn(body, content_type):
    if content_type != "text/plain":
        raise ValueError(f"content type {content_type}: expected text/plain")
    if body.isdigit():
        raise ToolkitError(int(body), f"status {body.decode()}", "phrase")
    return body.decode()
def predict_fn(data, model):
    data.split()[0]
    return {"said": model + data, "stages": importlib.util.find_spec("stages") is not None}
def output_fn(prediction, accept):
    return json.dumps(prediction)
"""
)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "inference.py").write_text(INFERENCE)
    (tmp_path / "weights").write_text("hello ")
    bundle.pack(tmp_path / "model.tar.gz", {"code": tmp_path / "code", "weights": tmp_path / "weights"})
    return tmp_path / "model.tar.gz"


def test_the_same_contents_give_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    first = archive.read_bytes()
    os.utime(tmp_path / "weights", (1, 1))
    bundle.pack(archive, {"weights": tmp_path / "weights", "code": tmp_path / "code"})
    assert archive.read_bytes() == first
    with tarfile.open(archive) as tar:
        assert tar.getnames() == ["code/inference.py", "weights"]


def test_a_path_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as tar:
        entry = tarfile.TarInfo("../evil")
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b"x"))
    with pytest.raises(tarfile.OutsideDestinationError):
        bundle.unpack(tmp_path / "evil.tar.gz", tmp_path / "model")
    assert not (tmp_path / "evil").exists()


def test_the_server_answers_and_cannot_import_this_repository(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(ROOT)
    with bundle.serve(archive) as endpoint:
        answer = endpoint.invoke(b"world", "text/plain")
        assert json.loads(answer.body) == {"said": "hello world", "stages": False}
        with pytest.raises(InputError, match="HTTP 400.*expected text/plain"):
            endpoint.invoke(b"world", "image/png")


def test_an_error_with_a_status_of_its_own_is_answered_by_it(archive: Path) -> None:
    with bundle.serve(archive) as endpoint:
        for status in (400, 413, 503):
            with pytest.raises(InputError, match=rf'HTTP {status}: {{"error":"status {status}"}}'):
                endpoint.invoke(str(status).encode(), "text/plain")


def test_a_model_that_fails_says_why_and_goes_on(archive: Path) -> None:
    with bundle.serve(archive) as endpoint:
        for _ in range(3):
            with pytest.raises(InputError, match='HTTP 500: {"error":"list index out of range"}'):
                endpoint.invoke(b"", "text/plain")
        assert json.loads(endpoint.invoke(b"world", "text/plain").body)["said"] == "hello world"


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [(b"\x89PNG\r\n\x1a\n...", "image/png", "PNG file is damaged"), (b"", "text/html", "content type 'text/html'")],
)
def test_in_sagemakers_image_the_classifier_refuses_by_an_error_of_its_toolkit(
    monkeypatch: pytest.MonkeyPatch, body: bytes, content_type: str, words: str
) -> None:
    toolkit = ModuleType("sagemaker_inference.errors")
    toolkit.BaseInferenceToolkitError = ToolkitError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sagemaker_inference", ModuleType("sagemaker_inference"))
    monkeypatch.setitem(sys.modules, toolkit.__name__, toolkit)
    with pytest.raises(ToolkitError, match=words) as refused:
        inference.input_fn(body, content_type)
    assert refused.value.status_code == 400


def test_a_model_that_does_not_load_is_told_in_a_line(archive: Path, tmp_path: Path) -> None:
    bundle.pack(archive, {"code": tmp_path / "code"})
    with pytest.raises(InputError, match="ended at its start.*No such file.*weights"), bundle.serve(archive):
        pass


def test_a_server_that_has_died_refuses_connections(archive: Path, started: Started) -> None:
    with bundle.serve(archive) as endpoint:
        (server,) = started()
        server.kill()
        server.wait()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{endpoint.address}/ping")


def test_no_server_outlives_a_killed_parent(archive: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from stages.common import bundle\n"
        "with bundle.serve(Path(sys.argv[1])) as endpoint:\n"
        "    print(endpoint.address, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(archive)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    address = parent.stdout.readline().strip()
    assert httpx.get(f"{address}/ping").status_code == 200
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 5
    with pytest.raises(httpx.TransportError):
        while time.monotonic() < deadline:
            httpx.get(f"{address}/ping")
            time.sleep(0.05)


def test_latency_has_percentiles_in_milliseconds() -> None:
    measured = bundle.latency([0.001] * 98 + [0.1] * 2, rows=100)
    assert measured["p50_ms"] == 1.0
    assert measured["p99_ms"] == 100.0
    assert measured["rows_per_second"] == round(100 / 0.298, 1)
