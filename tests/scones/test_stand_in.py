"""The stand-in's parts, with real processes: Lambda's functions, the models behind an endpoint, what is captured and what is left."""

import io
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import psutil
import pytest
from conftest import ROOT, Started
from vehicles import archive, steady, wait_until

from stages.scones.aws.stand_in import capture
from stages.scones.aws.stand_in.capture import Capture
from stages.scones.aws.stand_in.endpoints import Endpoint, EndpointResponse
from stages.scones.aws.stand_in.fleet import HostedEndpoint, ProductionVariant
from stages.scones.aws.stand_in.functions import Functions
from stages.scones.aws.stand_in.runtime import Code, FunctionResult, has_own_tmp
from stages.scones.aws.stand_in.scratch import PURPOSE, scratch_folder

SOURCE = """
import importlib.util, os, time
print("loaded")
calls = 0

class OutOfScones(Exception):
    pass

def answer(event, context):
    global calls
    calls += 1
    return {"event": event, "calls": calls, "name": context.function_name, "flavour": os.environ["FLAVOUR"],
            "left_s": context.get_remaining_time_in_millis() / 1000, "stages": bool(importlib.util.find_spec("stages"))}

def fail(event, context):
    raise OutOfScones("none left")

def sleep(event, context):
    time.sleep(event["seconds"])

def leave(event, context):
    os._exit(3)

def keep(event, context):
    found = sorted(os.listdir("/tmp"))
    with open(f"/tmp/{event}", "w") as file:
        file.write(event)
    time.sleep(0.5)
    return [name for name in found if name.startswith("picture")]

def fill(event, context):
    return len(bytearray(event * 2**20))
"""


def code(handler: str, source: str = SOURCE, timeout: int = 10, memory: int = 256) -> Code:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("scones.py", source)
    arn = f"arn:aws:lambda:eu-west-1:123456789012:function:{handler}"
    zipped = buffer.getvalue()
    return Code(
        f"{arn}:$LATEST", str(hash(source)), f"scones.{handler}", timeout, memory, (("FLAVOUR", "lemon"),), zipped
    )


@pytest.fixture
def functions(started: Started) -> Iterator[Functions]:
    running = Functions({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    yield running
    running.keep_only(set())
    assert not started()


def invoke(functions: Functions, code: Code, event: object = None) -> tuple[FunctionResult, Any]:
    answer = functions.invoke(code, json.dumps(event).encode())
    return answer, json.loads(answer.payload)


def test_a_function_gets_its_event_its_environment_and_its_context(functions: Functions) -> None:
    answer, said = invoke(functions, code("answer"), {"scones": 2})
    assert not answer.failed
    assert 8 < float(str(said.pop("left_s"))) <= 10
    assert said == {"event": {"scones": 2}, "calls": 1, "name": "answer", "flavour": "lemon", "stages": False}


def test_processes_are_reused_and_several_run_at_a_time(functions: Functions, started: Started) -> None:
    assert [invoke(functions, code("answer"))[1]["calls"] for _ in range(3)] == [1, 2, 3]
    assert len(started()) == 1
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda number: invoke(functions, code("answer")), range(24)))
    assert 1 <= len(started()) <= 4


def test_changed_code_runs_in_another_process(functions: Functions, started: Started) -> None:
    invoke(functions, code("answer"))
    (before,) = started()
    changed = SOURCE.replace("calls += 1", "calls += 10")
    assert invoke(functions, code("answer", changed))[1]["calls"] == 10
    assert started() != [before]


def test_an_error_has_type_message_and_stack_trace(functions: Functions) -> None:
    answer, said = invoke(functions, code("fail"))
    assert answer.failed
    assert (said["errorType"], said["errorMessage"]) == ("OutOfScones", "none left")
    assert 'raise OutOfScones("none left")' in str(said["stackTrace"])


@pytest.mark.parametrize(
    ("asked", "event", "kind", "words", "good"),
    [
        (code("sleep", timeout=1), {"seconds": 30}, "Sandbox.Timedout", "Task timed out after 1.00 s", {"seconds": 0}),
        (code("leave"), None, "Runtime.ExitError", "^Error: Runtime exited with error: exit status 3$", None),
        (code("fill", memory=256), 400, "Runtime.ExitError", "signal: killed$", 100),
        (code("answer", "import no_such_module"), None, "Runtime.ImportModuleError", "no_such_module", None),
    ],
    ids=["too long", "process ends", "too much memory", "does not load"],
)
def test_a_function_that_fails_is_an_error_each_time_and_the_next_call_gets_another_process(
    functions: Functions, asked: Code, event: object, kind: str, words: str, good: object
) -> None:
    for _ in range(2):
        answer, said = invoke(functions, asked, event)
        assert answer.failed
        assert said["errorType"] == kind
        assert re.search(words, said["errorMessage"])
        assert said.keys() == {"errorType", "errorMessage"} or kind == "Runtime.ImportModuleError"
    if good is not None:
        assert not invoke(functions, asked, good)[0].failed


def test_an_instance_has_a_tmp_of_its_own_as_in_lambda(functions: Functions, tmp_path: Path) -> None:
    if not has_own_tmp():
        pytest.skip("this system forbids user namespaces")
    with ThreadPoolExecutor(2) as pool:  # two processes at the same time, then one of them again
        together = list(pool.map(lambda name: invoke(functions, code("keep"), name)[1], ["picture-a", "picture-b"]))
    assert together == [[], []]
    assert len(invoke(functions, code("keep"), "picture-c")[1]) == 1
    assert not list(Path(tempfile.gettempdir()).glob("picture-*"))


ONE = {"model": 1.0}


def hosted(
    content: bytes,
    settings: dict[str, object],
    weights: dict[str, float] = ONE,
    put: Callable[[str, bytes], None] = lambda address, captured: None,
) -> Endpoint:
    """An endpoint whose models are all ``content``, and whose captured records are ``put``."""
    variants = tuple(ProductionVariant(name, f"s3://a/{name}", "") for name in weights)
    definition = HostedEndpoint("eu-west-1", "vehicles", variants, json.dumps(settings))
    return Endpoint(definition, lambda address: content, put, lambda *measured: None)


def test_variants_get_their_fractions_in_any_series_of_requests() -> None:
    weights = {"model": 3.0, "challenger": 1.0}
    endpoint = hosted(b"", {}, weights)
    chosen = [endpoint.choose(weights) for _ in range(400)]
    for start in range(0, 400, 40):
        assert 9 <= chosen[start : start + 40].count("challenger") <= 11
    assert chosen.count("challenger") == 100


def test_a_model_that_dies_under_several_requests_is_started_again_once(tmp_path: Path, started: Started) -> None:
    loaded, place = tmp_path / "loaded", str(tmp_path)
    model = steady(tmp_path, [1.0], f"Path({str(loaded)!r}).open('a').write('.')", f"hold({place!r}, body.decode())")
    endpoint = hosted(model.read_bytes(), {})
    endpoint.load()
    endpoint.wait()
    (tmp_path / "held").touch()

    def ask_twice(number: int) -> tuple[EndpointResponse, EndpointResponse]:
        return tuple(endpoint.invoke(f"{number}".encode(), "text/plain", "*/*", weights=lambda: ONE) for _ in range(2))  # type: ignore[return-value]

    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(ask_twice, range(8))
        (process,) = started()
        wait_until(lambda: list(tmp_path.glob("[0-7]")))  # the model answers one after the other
        wait_until(lambda: sum(one.status == psutil.CONN_ESTABLISHED for one in process.net_connections()) >= 8)
        process.kill()
        (tmp_path / "held").unlink()
        for first, second in answers:
            assert (first.status, first.error) == (424, "ModelError")
            assert (second.status, second.body) == (200, b"[1.0]")
    assert loaded.read_text() == ".."
    endpoint.stop()
    assert not started()


def test_a_request_that_was_given_up_meanwhile_is_neither_answered_nor_captured(tmp_path: Path) -> None:
    written = list[bytes]()
    settings = {"EnableCapture": True, "DestinationS3Uri": "s3://a/data", "CaptureOptions": [{"CaptureMode": "Input"}]}
    endpoint = hosted(archive(tmp_path).read_bytes(), settings, put=lambda address, captured: written.append(captured))
    assert endpoint.invoke(b"", "image/png", "*/*", weights=lambda: ONE, waiting=lambda: False).status == 503
    endpoint.stop()
    assert written == []


def test_failed_captures_are_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "SECONDS", 60)
    put = Mock(side_effect=[OSError("no space left"), None])
    settings = {"DestinationS3Uri": "s3://a/data", "CaptureOptions": [{"CaptureMode": "Output"}]}
    captured = Capture("vehicles", "model", settings, put)
    captured.add(("image/png", b"1"), ("text/plain", b"1"), "execution.0")
    with pytest.raises(OSError, match="no space left"):
        captured.write()
    captured.add(("image/png", b"2"), ("text/plain", b"2"))
    captured.write()
    captured.write()
    _, written = put.call_args.args
    events = [json.loads(line)["eventMetadata"] for line in written.splitlines()]
    assert [event.get("inferenceId") for event in events] == ["execution.0", None]


def test_the_folder_of_a_killed_run_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    script = (
        f"from {scratch_folder.__module__} import scratch_folder\nwith scratch_folder(): print(flush=True); input()"
    )
    owners = [
        subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    for owner in owners:
        assert owner.stdout
        owner.stdout.readline()
    left = sorted(tmp_path.glob(f"stages-{PURPOSE}-*"))
    assert len(left) == 2
    owners[0].kill()
    owners[0].wait()
    with scratch_folder() as folder:
        there = set(tmp_path.iterdir())
        assert len(there) == 2  # its own, and that of the one who lives
        assert len(there & set(left)) == 1
        assert Path(tempfile.mkdtemp()).parent == folder
    owners[1].communicate(b"\n")
    assert list(tmp_path.iterdir()) == []
