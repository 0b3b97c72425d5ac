"""The stand-in's Lambda: real processes that run a zip, their answers, errors, time limits and ends."""

import io
import json
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from stages.scones.aws.stand_in.endpoints import Deployed, Endpoint, Variant
from stages.scones.aws.stand_in.functions import Functions
from stages.scones.aws.stand_in.runtime import Answer, Code

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
    time.sleep(30)

def leave(event, context):
    os._exit(3)
"""


def code(handler: str, source: str = SOURCE, timeout: int = 10) -> Code:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("scones.py", source)
    arn = f"arn:aws:lambda:eu-west-1:123456789012:function:{handler}"
    return Code(arn, str(hash(source)), f"scones.{handler}", timeout, (("FLAVOUR", "lemon"),), buffer.getvalue())


@pytest.fixture
def functions() -> Iterator[Functions]:
    running = Functions("http://127.0.0.1:9")
    yield running
    running.keep_only(set())
    assert not psutil.Process().children()


def invoke(functions: Functions, code: Code, event: object = None) -> tuple[Answer, dict[str, object]]:
    answer = functions.invoke(code, json.dumps(event).encode())
    return answer, json.loads(answer.payload)


def test_a_function_gets_its_event_its_environment_and_its_context(functions: Functions) -> None:
    answer, said = invoke(functions, code("answer"), {"scones": 2})
    assert not answer.failed
    assert 8 < float(str(said.pop("left_s"))) <= 10
    assert said == {"event": {"scones": 2}, "calls": 1, "name": "answer", "flavour": "lemon", "stages": False}


def test_a_process_is_used_again_and_several_are_used_at_a_time(functions: Functions) -> None:
    assert [invoke(functions, code("answer"))[1]["calls"] for _ in range(3)] == [1, 2, 3]
    assert len(psutil.Process().children()) == 1
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda number: invoke(functions, code("answer")), range(24)))
    assert 1 <= len(psutil.Process().children()) <= 4


def test_other_code_is_another_process(functions: Functions) -> None:
    invoke(functions, code("answer"))
    (before,) = psutil.Process().children()
    changed = SOURCE.replace("calls += 1", "calls += 10")
    assert invoke(functions, code("answer", changed))[1]["calls"] == 10
    assert psutil.Process().children() != [before]


def test_an_error_has_its_type_its_words_and_where_it_was_raised(functions: Functions) -> None:
    answer, said = invoke(functions, code("fail"))
    assert answer.failed
    assert (said["errorType"], said["errorMessage"]) == ("OutOfScones", "none left")
    assert 'raise OutOfScones("none left")' in str(said["stackTrace"])


def test_a_function_that_takes_too_long_is_killed(functions: Functions) -> None:
    answer, said = invoke(functions, code("sleep", timeout=1))
    assert answer.failed
    assert said["errorType"] == "Sandbox.Timedout"
    assert "Task timed out after 1.00 seconds" in str(said["errorMessage"])


def test_a_process_that_ends_is_an_error_and_the_next_call_gets_another(functions: Functions) -> None:
    for _ in range(2):
        answer, said = invoke(functions, code("leave"))
        assert answer.failed
        assert said == {
            "errorType": "Runtime.ExitError",
            "errorMessage": "Error: Runtime exited with error: exit status 3",
        }


def test_code_that_does_not_load_is_an_error_of_its_own(functions: Functions) -> None:
    answer, said = invoke(functions, code("answer", "import nothing_of_that_name"))
    assert answer.failed
    assert said["errorType"] == "Runtime.ImportModuleError"
    assert "nothing_of_that_name" in str(said["errorMessage"])


def test_variants_get_their_shares_of_any_stretch_of_requests() -> None:
    variants = (Variant("model", 3.0, "s3://a/model", ""), Variant("challenger", 1.0, "s3://a/challenger", ""))
    endpoint = Endpoint(Deployed("vehicles", variants, "{}"), lambda address: b"", lambda address, content: None)
    chosen = [endpoint.choose() for _ in range(400)]
    for start in range(0, 400, 40):
        assert 9 <= chosen[start : start + 40].count("challenger") <= 11
    assert chosen.count("challenger") == 100
