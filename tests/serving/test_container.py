"""The container for one model: SageMaker's contract, refusals, requests that share a pass, and an end that answers all."""

import asyncio
import inspect
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType

import httpx
import psutil
import pytest
from conftest import ROOT, Started
from model_servers import (
    CLASSIFIER,
    INFERENCE,
    Served,
    archive,
    container,
    in_a_loop,
    in_this_process,
    load,
    refused,
    rest,
    until,
)

from stages.common.errors import InputError
from stages.scones import inference as scones
from stages.serving import process
from stages.serving.container import framing
from stages.serving.container import server as container_server
from stages.serving.container.application import application, matches, preferred
from stages.serving.container.batching import Batcher, BatchReply, Job, Limits
from stages.serving.container.body import BodyLimits
from stages.serving.container.errors import Refusal
from stages.serving.container.model import LoadedModel
from stages.serving.container.reading import READERS

TEXT = {"Content-Type": "text/plain"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    options = ["--max-bytes=1000", "--queue=6", "--max-batch=4", "--wait-ms=0", "--timeout=20"]
    with container(tmp_path_factory.mktemp("container"), *options) as one:
        yield one


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with served.client(headers=TEXT) as one:
        yield one


def ask(client: httpx.Client, words: str) -> httpx.Response:
    return client.post("/invocations", content=words)


@contextmanager
def held(served: Served, folder: Path) -> Iterator[None]:
    """The model is at work on a request for as long as the block lasts."""
    with served.client(headers=TEXT) as client, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, client, f"hold {folder}")
        try:
            until(lambda: (folder / "held").exists())
            yield
        finally:
            (folder / "released").touch()
            answer.result()


# The contract


def test_a_ping_is_answered_and_an_invocation_gets_the_models_answer(client: httpx.Client) -> None:
    assert client.get("/ping").status_code == 200
    answer = client.post("/invocations", content="hello", headers={"Content-Type": "text/plain; charset=utf-8"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json()["said"] == "hello"


def test_without_content_type_and_accept_a_body_is_bytes_and_the_answer_json(served: Served) -> None:
    request = b"POST /invocations HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
    head, _, body = served.said(request).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"content-type: application/json" in head.lower()
    assert json.loads(body)["said"] == "hello"


def test_content_types_match_without_their_parameters() -> None:
    for content_type in ("image/png", "IMAGE/PNG; q=1"):
        assert matches(content_type, "image/*")
        assert matches(content_type, "image/png")
    assert matches("text/csv; charset=utf-8", "text/csv")
    assert matches("", "*/*")
    for content_type in ("imagepng", "text/csv", ""):
        assert not matches(content_type, "image/*")
    assert not matches("", "text/csv")


ANSWERED = {
    "": "application/json",
    "*/*;q=0.8": "application/json",
    "application/json, text/plain, */*": "application/json",  # axios
    "text/html,application/xhtml+xml,*/*;q=0.8": "application/json",  # a browser
    "text/csv, */*": "text/csv",
    "Application/JSON; verbose=true , text/csv": "Application/JSON; verbose=true",
    "image/png, text/html": "image/png",
}
"""The types of answers by the types that a client accepts."""


def test_the_answer_has_a_type_that_the_client_accepts() -> None:
    assert {accept: preferred(accept) for accept in ANSWERED} == ANSWERED


# Refusals


def test_a_refusal_is_json_with_a_code(client: httpx.Client) -> None:
    assert "expected one of /ping, /invocations" in refused(client.get("/nothing"), 404, "not_found")
    assert "send POST" in refused(client.get("/invocations"), 405, "method_not_allowed")
    refused(client.post("/ping"), 405, "method_not_allowed")
    assert "this can't be read" in refused(ask(client, "unreadable"), 400, "unreadable")
    wrong = client.post("/invocations", content="x", headers={"Content-Type": "image/png"})
    assert "text/*, application/octet-stream" in refused(wrong, 415, "unsupported_type")
    wrong = client.post("/invocations", content="x", headers={"Accept": "text/csv"})
    assert "text/csv" in refused(wrong, 400, "unreadable")


def test_a_failing_model_gets_a_general_error_and_the_log_has_the_cause(served: Served, client: httpx.Client) -> None:
    for words in ("break", "lose"):
        for _ in range(2):
            assert "cause of it" not in refused(ask(client, words), 500, "internal")
        assert ask(client, "hello").json()["said"] == "hello"
    assert "the cause of it" in served.log.read_text()


def test_an_error_with_its_own_status_is_answered_with_it(client: httpx.Client) -> None:
    for status, code in ((400, "unreadable"), (413, "unreadable"), (503, "internal")):
        said = refused(ask(client, str(status)), status, code)
        assert said == f"status {status}" if status < 500 else str(status) not in said


def test_a_body_is_refused_by_its_length_or_while_it_is_read(served: Served, client: httpx.Client) -> None:
    assert ask(client, 1000 * "x").status_code == 200
    refused(ask(client, 1001 * "x"), 413, "too_large")
    refused(client.post("/invocations", content=(b"x" * 100 for _ in range(11))), 413, "too_large")
    early = b"POST /invocations HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 99999999999\r\n\r\n"
    assert served.said(early).startswith(b"HTTP/1.1 413")  # of the body nothing was sent


def test_invalid_http_gets_400_as_json_and_the_connection_is_closed(served: Served, client: httpx.Client) -> None:
    assert served.refusal(b"nonsense\r\n\r\n") == (400, "no_http")
    assert client.get("/ping").status_code == 200


# Requests together


def test_requests_that_wait_are_batched_and_their_number_is_bounded(
    served: Served, client: httpx.Client, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(16) as pool:
        with held(served, tmp_path):
            # Whoever is sent away is back at once, so six wait when all others are.
            answers = [pool.submit(ask, client, f"request {number}") for number in range(10)]
            until(lambda: sum(answer.done() for answer in answers) == 4)
        responses = [answer.result() for answer in answers]
    busy = [response for response in responses if response.status_code == 429]
    assert len(busy) == 4
    for response in busy:
        assert "6 requests" in refused(response, 429, "busy")
    answered = [response.json() for response in responses if response.status_code == 200]
    assert len({answer["said"] for answer in answered}) == 6
    assert sorted(answer["batch"] for answer in answered) == [2, 2, 4, 4, 4, 4]


def test_a_failing_request_fails_alone_in_its_batch(served: Served, client: httpx.Client, tmp_path: Path) -> None:
    words = ["one", "unreadable", "break", "two"]
    with ThreadPoolExecutor(8) as pool:
        with held(served, tmp_path):
            answers = [pool.submit(ask, client, word) for word in words]
            extra = [pool.submit(ask, client, "more") for _ in range(3)]
            until(lambda: any(answer.done() for answer in extra + answers))  # one of the seven was sent away
        statuses = {word: answer.result().status_code for word, answer in zip(words, answers, strict=True)}
        assert {answer.result().status_code for answer in extra} <= {200, 429}
    expected = {"one": 200, "unreadable": 400, "break": 500, "two": 200}
    assert sum(statuses[word] != status for word, status in expected.items()) <= 1
    assert all(statuses[word] in (status, 429) for word, status in expected.items())


def test_requests_of_one_message_are_batched_and_refused_one_by_one(client: httpx.Client) -> None:
    about = {"content_type": "text/plain", "accept": "application/json"}
    parts: list[framing.Part] = [(about, body) for body in (b"one", b"unreadable", b"break")]
    parts.append((about | {"content_type": "image/png"}, b"x"))
    response = client.post("/batch", content=framing.join(parts))
    answers = framing.split(response.content)
    assert [status["status"] for status, _ in answers] == [200, 400, 500, 415]
    assert json.loads(answers[0][1])["said"] == "one"
    assert [json.loads(body)["code"] for _, body in answers[1:]] == ["unreadable", "internal", "unsupported_type"]


def test_parts_of_a_message_are_unchanged_after_joining_and_splitting() -> None:
    parts: list[framing.Part] = [({"a": "ä\n"}, b"\n\x00"), ({}, b""), ({"b": [1]}, b"x" * 1000)]
    split = framing.split(framing.join(parts))
    assert [content for _, content in split] == [content for _, content in parts]
    assert [about for about, _ in split] == [about | {"length": len(content)} for about, content in parts]
    assert framing.split(framing.join([])) == []


@pytest.mark.parametrize(
    "message",
    [
        *(b"", b"nonsense", b"{}\nrest", b"[1]\n", b"null\n", b"[" * 900, b"\xff\n"),
        *(b'[{"length": %s}]\nab' % length for length in (b"3", b"1", b"2.0", b'"2"')),
        b'[{"length": 3}, {"length": -1}]\nab',
        b'[{"length": 2}]\nab',  # neither content type nor accept
    ],
)
def test_a_message_that_is_no_batch_is_refused(client: httpx.Client, message: bytes) -> None:
    refused(client.post("/batch", content=message), 400, "unreadable")


async def asked(batcher: Batcher, *bodies: bytes) -> list[BatchReply | BaseException]:
    answers = (batcher.ask(body, "", "") for body in bodies)
    return await asyncio.gather(*answers, return_exceptions=True)


def is_refused(outcome: BatchReply | BaseException, status: int, code: str, retry_after: int | None) -> None:
    assert isinstance(outcome, Refusal)
    assert (outcome.status, outcome.code, outcome.retry_after) == (status, code, retry_after)


class Work:
    """Notes what it is given; works when it may."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.may = asyncio.Event()

    async def __call__(self, jobs: Sequence[Job]) -> list[BatchReply | Exception]:
        self.batches.append([job.body for job in jobs])
        await self.may.wait()
        return [BatchReply(job.body, len(jobs)) for job in jobs]


@contextmanager
def batching(limits: Limits) -> Iterator[tuple[Work, Batcher]]:
    work = Work()
    batcher = Batcher(work, limits)
    task = asyncio.get_running_loop().create_task(batcher.run())
    try:
        yield work, batcher
    finally:
        task.cancel()


@in_a_loop
async def test_a_single_request_does_not_wait() -> None:
    with batching(Limits(wait=5)) as (work, batcher):
        work.may.set()
        begin = time.monotonic()
        for _ in range(10):
            await asked(batcher, b"x")
        assert time.monotonic() - begin < 1
        assert work.batches == 10 * [[b"x"]]


@in_a_loop
async def test_with_several_clients_the_model_waits_a_moment_for_larger_batches() -> None:
    with batching(Limits(wait=0.2)) as (work, batcher):
        work.may.set()

        async def ask_again_and_again(body: bytes) -> None:
            for _ in range(5):
                await batcher.ask(body, "", "")
                await asyncio.sleep(0.001)

        await asyncio.gather(*(ask_again_and_again(str(number).encode()) for number in range(8)))
        assert sum(map(len, work.batches)) == 40
        assert len(work.batches) <= 20


@in_a_loop
async def test_the_bytes_of_a_batch_are_bounded_unless_one_request_is_larger() -> None:
    with batching(Limits(batch_bytes=10, wait=0)) as (work, batcher):
        first = asyncio.create_task(asked(batcher, b""))
        await asyncio.sleep(0.01)
        others = asyncio.create_task(asked(batcher, b"4444", b"666666", b"1", 25 * b"x", b"22"))
        await asyncio.sleep(0.01)
        work.may.set()
        await asyncio.gather(first, others)
        assert [[len(body) for body in batch] for batch in work.batches] == [[0], [4, 6], [1], [25], [2]]


@in_a_loop
async def test_the_waiting_bytes_are_bounded_unless_one_request_is_larger() -> None:
    with batching(Limits(queue_bytes=10, wait=0)) as (work, batcher):
        first = asyncio.create_task(asked(batcher, b"x"))
        await asyncio.sleep(0.01)
        waiting = asyncio.create_task(asked(batcher, b"666666", b"55555", b"4444", b""))
        await asyncio.sleep(0.01)
        work.may.set()
        six, five, four, none = await waiting
        large = await asked(batcher, 25 * b"x")  # the queue is empty again
        assert all(isinstance(one, BatchReply) for one in (*await first, six, four, none, *large))
        is_refused(five, 429, "busy", 1)


@in_a_loop
async def test_a_timed_out_request_is_not_processed() -> None:
    with batching(Limits(answer=0.05, wait=0)) as (work, batcher):
        held = asyncio.create_task(asked(batcher, b"held"))
        await asyncio.sleep(0.01)
        for one in (*await asked(batcher, b"late", b"later"), *await held):
            is_refused(one, 503, "timeout", 1)
        work.may.set()
        assert await asked(batcher, b"in time") == [BatchReply(b"in time", 1)]
        assert work.batches == [[b"held"], [b"in time"]]


@in_a_loop
async def test_an_exception_fails_its_batch_and_later_requests_are_answered() -> None:
    calls = 0

    async def work(jobs: Sequence[Job]) -> list[BatchReply | Exception]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("a defect")
        return [BatchReply(job.body, len(jobs)) for job in jobs[calls == 2 :]]

    batcher = Batcher(work, Limits(answer=5))
    task = asyncio.create_task(batcher.run())
    with pytest.raises(RuntimeError, match="^a defect$"):
        await batcher.ask(b"x", "", "")
    with pytest.raises(RuntimeError, match="^0 outcomes for 1 requests$"):
        await batcher.ask(b"x", "", "")
    assert await batcher.ask(b"x", "", "") == BatchReply(b"x", 1)
    task.cancel()


@in_a_loop
async def test_when_the_worker_has_ended_all_pending_requests_fail() -> None:
    with batching(Limits(answer=5, wait=0, batch=1)) as (work, batcher):
        answers = asyncio.create_task(asked(batcher, b"worked on", b"waits"))
        while not work.batches:
            await asyncio.sleep(0)
    batcher.refuse(Refusal(503, "stopped", "it ended"))
    for one in await answers:
        is_refused(one, 503, "stopped", None)


def test_an_answer_that_takes_too_long_is_refused_and_the_next_one_is_given(tmp_path: Path) -> None:
    with container(tmp_path, "--timeout=0.5") as served, served.client(headers=TEXT) as client:
        assert "0.5 s" in refused(ask(client, f"hold {tmp_path / 'hold'}"), 503, "timeout")
        refused(ask(client, "waits in vain"), 503, "timeout")
        (tmp_path / "hold" / "released").touch()
        assert "waits in vain" not in until(lambda: ask(client, "next").json().get("worked_on"))


def test_a_container_whose_readers_are_all_late_says_so_until_one_is_free(tmp_path: Path) -> None:
    with (
        container(tmp_path, "--model-seconds=1", inference=CLASSIFIER) as served,
        served.client(headers=TEXT) as client,
        ThreadPoolExecutor(READERS) as pool,
    ):
        answers = [pool.submit(ask, client, f"read {tmp_path}") for _ in range(READERS)]
        assert sorted(one.result().json()["code"] for one in answers) == ["timeout", "too_costly"]
        assert client.get("/ping").status_code == 503
        refused(ask(client, f"read {tmp_path}"), 503, "timeout")
        (tmp_path / "released").touch()
        until(lambda: client.get("/ping").status_code == 200)
        assert ask(client, "next").status_code == 200
        assert len(list(tmp_path.glob("[0-9]*"))) == READERS, "a refused body was read"


def test_an_archive_that_exits_while_it_reads_fails_one_request(tmp_path: Path) -> None:
    exits = INFERENCE.replace('raise ValueError("this can\'t be read")', 'raise SystemExit("it ends here")')
    with container(tmp_path, inference=exits) as served, served.client(headers=TEXT) as client:
        for _ in range(2 * READERS):
            assert "it ends here" not in refused(ask(client, "unreadable"), 500, "internal")
        assert ask(client, "next").status_code == 200
        assert "it ends here" in served.log.read_text()


def test_a_model_that_takes_one_request_at_a_time_gets_one_at_a_time(tmp_path: Path) -> None:
    alone = INFERENCE.replace("def batch_fn", "def several").replace("return batch_fn", "return several")
    with container(tmp_path, inference=alone) as served, served.client(headers=TEXT) as client:
        assert client.get("/ping").headers["x-batches"] == "false"
        with ThreadPoolExecutor(4) as pool, held(served, tmp_path / "hold"):
            answers = [pool.submit(ask, client, word) for word in ("one", "two", "unreadable")]
        assert sorted(answer.result().status_code for answer in answers) == [200, 200, 400]
        assert {answer.result().json().get("batch") for answer in answers} == {1, None}


# Connections


class Echo:
    """Answers what it is told, `slow` after a while."""

    batches, stuck, content_types = True, False, ("*/*",)

    async def read(self, body: bytes, content_type: str) -> bytes:
        return body

    async def work(self, jobs: Sequence[Job]) -> list[BatchReply | Exception]:
        if any(job.body == b"slow" for job in jobs):
            await asyncio.sleep(1)
        return [BatchReply(job.body, len(jobs)) for job in jobs]


@pytest.fixture(scope="module")
def impatient() -> Iterator[Served]:
    """A server in this process that waits for headers, for a body and for a reader of its answer 0.4 s each."""
    model: LoadedModel = Echo()  # type: ignore[assignment]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(container_server, "HEADER_SECONDS", 0.4)
        patch.setattr(container_server, "SEND_SECONDS", 0.4)
        with in_this_process(application(model, Limits(), BodyLimits(seconds=0.4))) as one:
            yield one


@pytest.mark.parametrize("sent", [b"", b"POST", b"POST /invocations HTTP/1.1\r\nHost: h\r\n"])
def test_a_connection_that_sends_no_request_is_closed(impatient: Served, sent: bytes) -> None:
    begin = time.monotonic()
    assert impatient.said(sent) == b""
    assert 0.3 < time.monotonic() - begin < 3


def test_a_connection_that_sends_its_headers_slowly_is_closed(impatient: Served) -> None:
    begin = time.monotonic()
    with impatient.connect() as connection:
        connection.setblocking(False)
        for drop in b"GET /ping HTTP/1.1\r\nX-Long: " + 1000 * b"x":
            try:
                connection.send(bytes([drop]))
                time.sleep(0.02)
                assert connection.recv(1) == b""  # closed, without an answer
                break
            except BlockingIOError:
                pass
            except (BrokenPipeError, ConnectionResetError):  # closed just before this drop
                break
    assert 0.3 < time.monotonic() - begin < 3


@pytest.mark.parametrize("length", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
def test_a_body_that_does_not_arrive_is_refused(impatient: Served, length: bytes) -> None:
    head = b"POST /invocations HTTP/1.1\r\nHost: h\r\n" + length + b"\r\n\r\n"
    assert impatient.refusal(head + (b"half" if b"100" in length else b"4\r\nhalf\r\n")) == (408, "too_slow")


@pytest.mark.parametrize(
    ("sent", "more"),
    [
        (b"POST /nothing HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n", b"x"),
        (b"GET /ping HTTP/1.1\r\nHost: h\r\n\r\n", b"\r\n"),
        (b"GET /ping HTTP/1.1\r\nHost: h\r\n\r\n", b"GET /pi"),
    ],
    ids=["the rest of a body", "an empty line", "half a request"],
)
def test_an_answered_connection_with_an_unread_rest_is_closed(impatient: Served, sent: bytes, more: bytes) -> None:
    with impatient.connect() as connection:
        connection.sendall(sent)
        assert connection.recv(65536).startswith(b"HTTP/1.1 ")
        connection.sendall(more)
        begin = time.monotonic()
        rest(connection)
        assert time.monotonic() - begin < 3


def test_a_client_that_does_not_read_its_answer_is_disconnected(impatient: Served) -> None:
    with impatient.connect() as connection:
        size = 20_000_000  # more than the system takes
        head = b"POST /invocations HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % size + size * b"x")

        def cut() -> bool:
            try:
                connection.send(b"\r\n")
            except (BrokenPipeError, ConnectionResetError):
                return True
            time.sleep(0.05)
            return False

        until(cut, 20)


def test_requests_sent_ahead_are_answered_however_long_the_model_takes(impatient: Served) -> None:
    head = b"POST /invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n"
    assert impatient.said(head + b"fast" + head + b"slow").count(b"HTTP/1.1 200 OK") == 2


def test_a_client_that_goes_away_in_the_middle_does_no_harm(served: Served, client: httpx.Client) -> None:
    for _ in range(20):
        with served.connect() as connection:
            connection.sendall(b"POST /invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf")
    assert ask(client, "hello").status_code == 200
    process, port = psutil.Process(served.process.pid), int(served.address.rsplit(":", 1)[1])
    connections = partial(process.net_connections, "tcp")
    until(lambda: not [one for one in connections() if one.status == "CLOSE_WAIT" and one.laddr.port == port])


# The end


def test_sigterm_under_load_answers_every_request_that_was_accepted(tmp_path: Path) -> None:
    answered: list[int] = []

    def start(served: Served, keep_alive: bool) -> Future[list[str]]:
        limits = httpx.Limits(max_keepalive_connections=None if keep_alive else 0)
        client = served.client(headers=TEXT, limits=limits)
        return pool.submit(load, client, lambda one: ask(one, "sleep 0.02"), answered)

    with ThreadPoolExecutor(12) as pool, container(tmp_path) as served:
        keeping, closing = ([start(served, keep_alive) for _ in range(6)] for keep_alive in (True, False))
        until(lambda: len(answered) > 100)
        assert served.stopped() < 10
        lost = [error for one in closing for error in one.result()]
        # The system may accept one more between our last look and the closing of the socket: nothing can be done about it.
        assert len(lost) <= 1, lost
        assert [one.result() for one in keeping] == 6 * [[]]
        assert "Traceback" not in served.log.read_text()
    assert set(answered) == {200}


def test_requests_accepted_by_the_system_or_sent_on_idle_connections_before_the_stop_are_answered() -> None:
    ping = b"GET /ping HTTP/1.1\r\nHost: h\r\n\r\n"
    model: LoadedModel = Echo()  # type: ignore[assignment]
    connections: list[socket.socket] = []
    stop, stopping = threading.Event(), threading.Event()

    def connect() -> socket.socket:
        connections.append(one.connect())
        connections[-1].sendall(ping)
        return connections[-1]

    class Stopped(container_server.Server):
        async def on_tick(self, counter: int) -> bool:
            if not stop.is_set():
                return await super().on_tick(counter)
            for _ in range(5):  # which its loop has no chance to accept before it stops
                connect()
            stopping.set()
            return True

    with in_this_process(application(model, Limits(), BodyLimits()), Stopped) as one:
        idle = connect()
        assert idle.recv(65536).startswith(b"HTTP/1.1 200 OK")
        stop.set()
        stopping.wait()
        idle.sendall(ping)
        for connection in connections:
            answer = rest(connection)
            assert answer.startswith(b"HTTP/1.1 200 OK")
            assert b"connection: close" in answer
            connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_waits_for_running_requests_but_not_for_idle_connections(tmp_path: Path, number: int) -> None:
    with container(tmp_path) as served, served.client(headers=TEXT) as client, served.connect(), served.connect():
        assert client.get("/ping").status_code == 200
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(ask, client, f"hold {tmp_path / 'hold'}")
            until(lambda: (tmp_path / "hold" / "held").exists())
            threading.Timer(0.7, (tmp_path / "hold" / "released").touch).start()
            seconds = served.stopped(number)
        assert (answer.result().status_code, answer.result().headers["connection"]) == (200, "close")
        assert 0.5 < seconds < 5


# As a child of another process


class ToolkitError(Exception):
    """As sagemaker_inference.errors.BaseInferenceToolkitError."""

    def __init__(self, status_code: int, message: str, phrase: str) -> None:
        self.status_code = status_code
        self.message = message
        self.phrase = phrase
        super().__init__(status_code, message, phrase)


CHILD = (
    inspect.getsource(ToolkitError)
    + """
import importlib.util, json
def model_fn(model_dir):
    return None
def input_fn(body, content_type):
    if content_type != "text/plain":
        raise ToolkitError(400, f"content type {content_type}: expected text/plain", "phrase")
    return body.decode()
def predict_fn(data, model):
    return {"said": data, "stages": importlib.util.find_spec("stages") is not None}
def output_fn(prediction, accept):
    return json.dumps(prediction)
"""
)


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archive(tmp_path_factory.mktemp("child"), CHILD)


def test_a_child_answers_and_cannot_import_this_repository(child: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(ROOT)
    with process.serve(child) as endpoint:
        answer = endpoint.invoke(b"world", "text/plain")
        assert json.loads(answer.body) == {"said": "world", "stages": False}
        assert 0 < answer.seconds < 10
        with pytest.raises(InputError, match="HTTP 400.*unreadable.*expected text/plain"):
            endpoint.invoke(b"world", "image/png")


def test_a_child_has_its_own_folder_and_ends_only_with_its_parents_block(child: Path, started: Started) -> None:
    with process.unpacked(child) as unpacked, process.launched(unpacked) as address:
        (server,) = started()
        folder = Path(server.cwd())
        assert {"-E", "-s"} <= set(server.cmdline())
        assert sorted(path.name for path in folder.iterdir()) == ["container", "model"]
        for number in (signal.SIGTERM, signal.SIGINT):
            server.send_signal(number)
        with pytest.raises(psutil.TimeoutExpired):
            server.wait(1)
        assert httpx.get(f"{address}/ping").status_code == 200
    assert not server.is_running()
    assert not folder.exists()


def test_a_model_that_does_not_load_is_reported_in_one_line(tmp_path: Path) -> None:
    broken = CHILD.replace("return None", 'raise OSError("no such weights")')
    model = process.ModelProcess(archive(tmp_path, broken))
    with pytest.raises(InputError, match="stopped while it started.*no such weights"):
        model.start()


def test_a_model_that_loads_for_too_long_is_stopped(tmp_path: Path, started: Started) -> None:
    slow = CHILD.replace("return None", "import time; time.sleep(60)")
    with (
        pytest.raises(InputError, match="did not answer within 1 s"),
        process.unpacked(archive(tmp_path, slow)) as folder,
        process.launched(folder, start=1.0),
    ):
        pass
    assert not started()


def test_a_dead_child_refuses_connections_and_restarts_on_the_next_request(child: Path, started: Started) -> None:
    model = process.ModelProcess(child)
    try:
        address = model.start()
        assert model.start() == address
        (server,) = started()
        server.kill()
        server.wait()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{address}/ping")
        model.died(address)
        again = model.start()
        model.died(address)  # somebody else has noticed it, too
        assert httpx.get(f"{again}/ping").status_code == 200
    finally:
        model.stop()
    assert not started()
    with pytest.raises(InputError, match="no longer"):
        model.start()


def test_latency_has_percentiles_in_milliseconds() -> None:
    measured = process.latency([0.001] * 98 + [0.1] * 2, rows=100)
    assert measured["p50_ms"] == 1.0
    assert measured["p99_ms"] == 100.0
    assert measured["rows_per_second"] == round(100 / 0.298, 1)


# In SageMaker's own image


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
    with pytest.raises(ToolkitError, match=words) as refusal:
        scones.input_fn(body, content_type)
    assert refusal.value.status_code == 400
