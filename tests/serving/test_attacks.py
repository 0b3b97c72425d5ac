"""Attacks on the whole server, byte by byte: each is refused or cut off, costs little, and the server goes on."""

import asyncio
import gzip
import json
import os
import re
import resource
import socket
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import psutil
import pytest
from model_servers import CLASSIFIER, Served, exports, in_a_loop, refused, rest, server, until
from starlette.requests import Request
from starlette.responses import Response

from stages.common import temporary
from stages.serving.container import server as container_server
from stages.serving.container.body import UNCOUNTED, UNPACKED, BodyLimits, LimitedBody
from stages.serving.container.reading import READERS
from stages.serving.page import CONTENT_SECURITY_POLICY, guard
from stages.serving.page.head import TITLE

HEADERS = container_server.HEADER_BYTES

POST = b"POST /models/mnist/invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
GET = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n"
CLOSE = b"Connection: close\r\n"
CHUNKED = POST + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with the page, whose largest body has a megabyte."""
    folder = exports(tmp_path_factory.mktemp("attacked"), CLASSIFIER, "mnist", "landmarks")
    with server(folder, "--max-megabytes=1", "--model-seconds=3", page=True) as one:
        yield one
        assert "Traceback" not in one.log.read_text(), one.log.read_text()


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with served.client(headers={"Content-Type": "text/plain"}) as one:
        yield one


def ask(client: httpx.Client, body: Any, **headers: str) -> httpx.Response:
    return client.post("/models/mnist/invocations", content=body, headers=headers)


# Headers


def padded(length: int) -> bytes:
    """A request whose line and headers have ``length`` bytes."""
    start, end = GET + CLOSE + b"X-Long: ", b"\r\n\r\n"
    return start + (length - len(start) - len(end)) * b"x" + end


def test_the_limit_of_headers_is_exact(served: Served) -> None:
    assert served.said(padded(HEADERS)).startswith(b"HTTP/1.1 200")
    assert served.said(padded(HEADERS + 1)).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "start",
    [
        GET + b"X-Endless: ",
        GET[:5],
        GET + b"X-Endless",
        b"\r\n",
        CHUNKED + b"1;",
        CHUNKED + b"1\r\nx\r\n0\r\nX-Trailer: ",
        GET + b"\r\n" + GET + b"X-Endless: ",
    ],
    ids=["value", "address", "name", "empty lines", "chunk extension", "trailer", "second request"],
)
def test_a_connection_with_endless_headers_is_closed(served: Served, client: httpx.Client, start: bytes) -> None:
    sent = 0
    with served.connect() as connection:
        connection.sendall(start)
        more = 16_384 * (b"\r" if start == b"\r\n" else b"x")
        with suppress(BrokenPipeError, ConnectionResetError):
            while sent < 50_000_000:
                sent += connection.send(more)
    # What the system had already taken counts as sent: both sockets' buffers.
    assert sent < 16_000_000
    assert client.get("/ping").status_code == 200


@pytest.mark.parametrize("piece", [1000, 65_536, 262_144])
@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nX: ", CHUNKED + b"1\r\nx\r\n0\r\nX: "])
@in_a_loop
async def test_the_parser_gets_at_most_the_limit_and_one_piece(start: bytes, piece: int) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = container_server.Server(application, listener)
    one.config.load()
    protocol = container_server.Protocol(one.config, one.server_state, {})
    transport: Any = Mock(spec=asyncio.Transport, is_closing=lambda: transport.close.called)
    protocol.connection_made(transport)
    protocol.data_received(start)
    taken = 0
    while not transport.is_closing():
        assert taken <= HEADERS + piece
        protocol.data_received(piece * b"x")
        taken += piece
    assert b"400 Bad Request" in transport.write.call_args.args[0]
    assert len(start) + taken >= HEADERS
    protocol.connection_lost(None)


def test_a_body_in_many_tiny_chunks_is_refused_and_one_in_lines_is_read(served: Served) -> None:
    """Each chunk costs as much as some kilobytes: others would wait."""
    line = b"3c\r\n" + 59 * b"x" + b"\n\r\n"
    assert served.said(CHUNKED + 15_000 * line + b"0\r\n\r\n").startswith(b"HTTP/1.1 200")
    for more in (b"", b";extension"):
        chunk = b"1" + more + b"\r\nx\r\n"
        assert b"no_http" in served.said(CHUNKED + (container_server.CHUNKS + 200) * chunk)


def test_a_trailer_is_no_header(served: Served) -> None:
    answer = served.said(CHUNKED + b"1\r\nx\r\n0\r\nContent-Type: nonsense/kind\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + 9 * b"\0",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + 500 * b"\0",
        b"GET /ping HTTP/3.7\r\nHost: localhost\r\n\r\n",
        b"GET /pi\0ng HTTP/1.1\r\nHost: localhost\r\n\r\n",
        GET + b"X: a\0b\r\n\r\n",
        GET + b"X : a\r\n\r\n",
        GET + b"X: a\r\n b\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nConnection: close\r\n\r\n",
        *(POST + b"Content-Length: %s\r\n\r\nx" % length for length in (b"+1", b"0x1", b"99999999999999999999999")),
        *(POST + b"Content-Length: 1\r\nContent-Length: %d\r\n\r\nxx" % length for length in (1, 2)),
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        *(
            POST + b"Transfer-Encoding: %s\r\n\r\n1\r\nx\r\n0\r\n\r\n" % kind
            for kind in (b"xchunked", b"chunked, identity", b"gzip")
        ),
        *(
            CHUNKED + chunk
            for chunk in (b"-1\r\nx", b"XYZ\r\n", b"FFFFFFFFFFFFFFFFF\r\nx", b"5\r\nmore than five\r\n0\r\n\r\n")
        ),
        GET + b"X-Long: " + b"x" * 70_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        GET + b"X-Many: 1\r\n" * 20_000 + b"\r\n",
    ],
)
def test_an_invalid_request_is_400_as_json(served: Served, request_bytes: bytes) -> None:
    assert served.refusal(request_bytes) == (400, "no_http")


def test_requests_sent_ahead_are_bounded_and_never_get_anothers_answer(served: Served, tmp_path: Path) -> None:
    many = container_server.PIPELINED
    assert served.said((many - 1) * (GET + b"\r\n") + GET + CLOSE + b"\r\n").count(b"HTTP/1.1 200") == many
    slow = POST + b"Content-Length: %d\r\n\r\nread " % (5 + len(os.fsencode(tmp_path))) + os.fsencode(tmp_path)
    try:
        for more in (10_000 * (GET + b"\r\n"), b"nonsense\r\n\r\n"):
            with served.connect() as connection:
                connection.sendall(slow + more)
                assert b"HTTP/1.1" not in rest(connection)  # closed: the 400 would be the answer to the first request
    finally:
        (tmp_path / "released").touch()


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c"])
def test_a_connection_is_never_upgraded(served: Served, upgrade: bytes) -> None:
    for path in (b"/ping", b"/page/"):
        head = GET.replace(b"/ping", path) + b"Connection: Upgrade, close\r\nUpgrade: " + upgrade + b"\r\n\r\n"
        assert served.said(head).startswith(b"HTTP/1.1 200")


# Names and addresses

CLOSED = (
    "file=%00", "file=/etc/passwd", "file=http://127.0.0.1/", "file=params.yaml", "file=../../etc/passwd", "file=%2Fetc%2Fpasswd",
    "file/etc/passwd", "info", "openapi.json", "runs", "deep_link", "app_id", "startup-events", "heartbeat/abc", "token", "vibe-code",
    "stream/a/b/1/playlist.m3u8", "custom_component/1/client/component/index.js",
)  # fmt: skip
"""Routes of Gradio that the page doesn't use."""


@pytest.mark.parametrize(
    "path",
    [
        *(f"{slashes}example.org/" for slashes in ("//", "/%2F%2F", "/\\")),
        *("/models/%00", "/%ff%fe", "/page/own/%00"),
        "/static-offline-docs/..%2f..%2f..%2fetc%2fpasswd",
        "/page/own/..%2f..%2fguard.py",
        f"/page/static/{300 * 'a'}",
        f"/page/assets/{5000 * 'a'}",
        *(f"/page/gradio_api/{route}" for route in CLOSED),
        *(f"/page/{route}" for route in ("monitoring", "login_check", "svelte/x.js")),
    ],
)
def test_a_strange_path_is_404_as_json(served: Served, path: str) -> None:
    assert served.refusal(GET.replace(b"/ping", path.encode()) + CLOSE + b"\r\n") == (404, "not_found")


def test_head_is_answered_as_get_without_a_body(client: httpx.Client) -> None:
    for path in ("/ping", "/", "/models", "/metrics", "/page/", "/openapi.json", "/nothing"):
        head, get = client.head(path), client.get(path)
        assert (head.status_code, head.content) == (get.status_code, b"")
        for name in ("content-type", "location"):
            assert head.headers.get(name) == get.headers.get(name)


def test_a_simple_health_check_needs_no_host(served: Served) -> None:
    for head in (b"GET /ping HTTP/1.0\r\n\r\n", b"HEAD /ping HTTP/1.0\r\n\r\n", b"GET /page/ HTTP/1.0\r\n\r\n"):
        assert served.said(head).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        *((headers, 200) for headers in ({}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"})),
        ({"Sec-Fetch-Site": "cross-site"}, 200),  # a link
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        *(({"Origin": origin}, 403) for origin in ("http://localhost:3000", "null", "http://[bad")),
    ],
)
def test_pages_of_other_ports_get_nothing(client: httpx.Client, headers: dict[str, str], status: int) -> None:
    for path in ("/page/config", "/models"):
        answer = client.get(path, headers=headers)
        assert answer.status_code == status
        assert not [name for name in answer.headers if name.startswith("access-control")]
    answer = ask(client, "x", **headers)
    if headers.get("Sec-Fetch-Site") in ("same-site", "cross-site") or status == 403:
        refused(answer, 403, "cross_site")
    else:
        assert answer.status_code == 200
    asks_first = headers | {"Access-Control-Request-Method": "POST"}
    assert client.options("/page/gradio_api/upload", headers=asks_first).status_code in (403, 404)


# Bodies


def test_a_gzip_body_is_unpacked_up_to_the_limit(client: httpx.Client) -> None:
    packed = {"Content-Encoding": "gzip"}
    assert ask(client, gzip.compress(1_000_000 * b"x"), **packed).status_code == 200
    refused(ask(client, gzip.compress(1_000_001 * b"x"), **packed), 413, "too_large")
    refused(ask(client, gzip.compress(50_000_000 * b"x"), **packed), 413, "too_large")
    hello = gzip.compress(b"hello")
    assert ask(client, (hello[at : at + 1] for at in range(100)), **packed).status_code == 200
    for body in (b"hello", b"", hello[:-1], 2 * hello, hello + b"x"):
        assert "gzip" in refused(ask(client, body, **packed), 400, "unreadable")


def limited(limits: BodyLimits, may_answer: asyncio.Event) -> httpx.AsyncClient:
    """A client of an application that reads the body and answers when it may."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await Request(scope, receive).body()
        await may_answer.wait()
        await Response()(scope, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(LimitedBody(application, limits)), base_url="http://here")


@in_a_loop
async def test_a_compressed_body_has_a_lower_limit() -> None:
    """32 MB of empty JSON lists fit into 31 kB, and would cost a model seconds and gigabytes."""
    may_answer = asyncio.Event()
    may_answer.set()
    async with limited(BodyLimits(), may_answer) as client:
        for length in (UNPACKED, 2 * UNPACKED):
            assert (await client.post("/", content=length * b"x")).status_code == 200
        for length, status in ((UNPACKED, 200), (UNPACKED + 1, 413)):
            packed, encoding = gzip.compress(length * b"x"), {"Content-Encoding": "gzip"}
            assert (await client.post("/", content=packed, headers=encoding)).status_code == status


@in_a_loop
async def test_bodies_in_flight_have_one_limit_and_small_requests_still_pass() -> None:
    """Two bodies of the largest size fit, a third does not."""
    may_answer = asyncio.Event()
    async with limited(BodyLimits(10 * UNCOUNTED, 5, 200), may_answer) as client:

        async def status(length: int) -> int:
            return (await client.post("/", content=length * b"x")).status_code

        large = UNCOUNTED + 100
        held = [asyncio.create_task(status(length)) for length in (large, large, *[UNCOUNTED] * 10)]
        await asyncio.sleep(0.05)
        assert await status(large) == 503
        may_answer.set()
        assert [await task for task in held] == 12 * [200]
        assert await status(large) == 200


def test_unfinished_bodies_take_no_more_memory_than_their_limit(served: Served, client: httpx.Client) -> None:
    process = psutil.Process(served.process.pid)
    before = process.memory_info().rss
    connections = [served.connect() for _ in range(60)]
    try:
        for connection in connections:
            connection.sendall(POST + b"Content-Length: 1000000\r\n\r\n" + 990_000 * b"x")
        until(lambda: refused_ones(connections) >= 40)
        assert process.memory_info().rss - before < 40_000_000  # 60 would be as many megabytes, twice
        assert ask(client, "a small one").status_code == 200
    finally:
        for connection in connections:
            connection.close()
    until(lambda: ask(client, 900_000 * "x").status_code == 200)


def refused_ones(connections: list[socket.socket]) -> int:
    """How many of them have got 503."""
    count = 0
    for connection in connections:
        connection.setblocking(False)
        with suppress(BlockingIOError):
            count += connection.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 503"
    return count


# What takes long


def test_a_body_that_takes_long_to_read_blocks_no_other(served: Served, client: httpx.Client, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        costly = pool.submit(ask, client, f"read {tmp_path}")
        until(lambda: list(tmp_path.iterdir()))

        def others() -> set[int]:
            answers = set()
            while not costly.done():
                answers.add(ask(client, "x").status_code)
            return answers

        codes = [pool.submit(others) for _ in range(7)]
        assert "3 s" in refused(costly.result(), 503, "too_costly")
        assert [one.result() for one in codes] == [{200}] * 7
        assert ask(client, "x").status_code == 200
        (tmp_path / "released").touch()
    assert len(served.children()) == 2


def test_a_model_without_a_free_reader_is_restarted(served: Served, client: httpx.Client, tmp_path: Path) -> None:
    before = {child.pid for child in served.children()}
    with ThreadPoolExecutor(READERS) as pool:
        answers = [pool.submit(ask, client, f"read {tmp_path}") for _ in range(READERS)]
        for answer in answers:
            assert answer.result().status_code == 503
            assert int(answer.result().headers["retry-after"]) >= 1
    until(lambda: ask(client, "x").status_code == 200)
    assert len({child.pid for child in served.children()} & before) == 1
    (tmp_path / "released").touch()


# The page


FORM = "multipart/form-data; boundary=b"


def form(content: bytes = b"hello", head: bytes = b'name="files"; filename="a.png"') -> bytes:
    return b"--b\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + content + b"\r\n--b--\r\n"


def upload(client: httpx.Client, body: bytes) -> httpx.Response:
    return client.post("/page/gradio_api/upload", content=body, headers={"Content-Type": FORM})


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (form(1_100_000 * b"x"), FORM, 413, "too_large"),
        (form(2_000_000 * b"x", b'name="files"'), FORM, 400, "unreadable"),
        (form(head=b'name="files"; filename="a"\r\nX: ' + 1_000_000 * b"x"), FORM, 413, "too_large"),
        (1500 * form()[:-7] + b"--b--", FORM, 400, "unreadable"),
        (form(), f"multipart/form-data; boundary={5000 * 'b'}", 400, "unreadable"),
        (form(), "multipart/form-data", 400, "unreadable"),
        (form(), "text/plain", 415, "unsupported_type"),
    ],
    ids=["large", "a field", "headers", "many", "long boundary", "no boundary", "no form"],
)
def test_a_refused_upload_leaves_nothing(served: Served, body: bytes, kind: str, status: int, code: str) -> None:
    before = kept(served)
    with served.connect() as connection:  # httpx would stop at the early answer
        head = b"POST /page/gradio_api/upload HTTP/1.1\r\nHost: localhost\r\n" + CLOSE
        with suppress(BrokenPipeError, ConnectionResetError):
            told = f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head + told.encode() + body)
        answer = rest(connection)
    if answer:  # the end of the connection may overtake it
        assert answer.startswith(f"HTTP/1.1 {status}".encode())
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == code
    until(lambda: kept(served) == before)


def kept(served: Served) -> set[Path]:
    """The files in the folder of uploads."""
    with served.client() as client:
        place = Path(upload(client, form()).json()[0])
    return {path for path in place.parents[1].rglob("*") if path.is_file()}


def test_a_full_disk_is_reported_in_json(served: Served, client: httpx.Client) -> None:
    """A limit on the size of files stands for a full disk: both are errors of a write."""
    process, before = psutil.Process(served.process.pid), kept(served)
    usual = process.rlimit(resource.RLIMIT_FSIZE)
    process.rlimit(resource.RLIMIT_FSIZE, (200_000, usual[1]))
    refused(upload(client, form(500_000 * b"x")), 507, "no_space")
    process.rlimit(resource.RLIMIT_FSIZE, usual)
    assert kept(served) == before


def test_uploads_have_a_quota(served: Served, client: httpx.Client) -> None:
    statuses = [upload(client, form(900_000 * bytes([number]))).status_code for number in range(40)]
    assert statuses[:30] == 30 * [200]
    assert statuses[-1] == 507
    refused(upload(client, form(900_000 * b"z")), 507, "no_space")


META = {"_type": "gradio.FileData"}
FILE = {"path": "UPLOADED", "meta": META}

WRONG: list[Any] = [
    *([5, False], ["x", False], [[], False], [{}, False], [{"path": 5}, False], [{"path": None}, False]),
    *(
        [FILE | one, False]
        for one in ({"url": "http://["}, {"url": "//[x"}, {"mime_type": 5}, {"size": "x"}, {"meta": 5})
    ),
    *([None, "true"], [], [None], [None, False, None], 5, None),
]
"""What the page never sends as a photograph and whether to look for several landmarks in it."""


def question(data: Any, session: Any = "a", handler: Any = "PICTURE") -> bytes:
    return json.dumps({"fn_index": handler, "data": data, "session_hash": session}).encode()


def join(client: httpx.Client, content: bytes) -> httpx.Response:
    """Ask a handler of the page; PICTURE is one that takes a picture."""
    config = client.get("/page/config").json()
    components = {one["id"]: one["type"] for one in config["components"]}
    takes = {one["id"]: [components[number] for number in one["inputs"]] for one in config["dependencies"]}
    number = next(number for number, inputs in takes.items() if inputs == ["image", "checkbox"])
    body, kind = content.replace(b'"PICTURE"', str(number).encode()), {"Content-Type": "application/json"}
    return client.post("/page/gradio_api/queue/join", content=body, headers=kind)


@pytest.mark.parametrize(
    "content",
    [
        *(b"[" * 100_000, b"[]", b"null", b"{}"),
        *(question([], handler=words) for words in ("x", 10_000, "a\nb", "\ud800")),
        *(question([None, False], session) for session in ("", 101 * "a", 5)),
        *map(question, WRONG),
    ],
)
def test_a_wrong_typed_payload_is_refused(served: Served, client: httpx.Client, content: bytes) -> None:
    uploaded = upload(client, form()).json()[0]
    size = len(served.log.read_text().splitlines())
    answer = join(client, content.replace(b"UPLOADED", uploaded.encode()))
    assert answer.status_code == 400
    assert answer.json()["code"] in ("not_json", "invalid_input", "not_uploaded")
    assert len(served.log.read_text().splitlines()) <= size + 1


@pytest.mark.parametrize(
    "payload",
    [
        {"path": "/etc/passwd"},
        *({"path": path, "meta": META} for path in ("/etc/passwd", "../../../etc/passwd", "params.yaml", "a\0b")),
        *({"path": path, "meta": META} for path in ("http://127.0.0.1:1/x.png", ["/etc/passwd"])),
        *({"url": url, "meta": META} for url in ("http://127.0.0.1:1/x.png", "file:///etc/passwd")),
        {"url": "data:image/png;base64,AAAA", "path": None, "meta": META},
        {"deeper": [{"path": "/etc/passwd", "meta": META}]},
    ],
)
def test_no_path_or_address_is_taken_from_a_request(client: httpx.Client, payload: dict[str, Any]) -> None:
    refused(join(client, question([payload, False])), 400, "not_uploaded")


def test_too_large_a_question_is_refused(client: httpx.Client) -> None:
    refused(join(client, question(["x" * guard.MAX_QUESTION])), 413, "too_large")


def test_the_page_sends_no_request_to_other_hosts(client: httpx.Client) -> None:
    """What is asked for lies at a server of ours, which nobody asks."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(1)
        elsewhere = f"http://127.0.0.1:{listener.getsockname()[1]}/x.png"
        for name in ("path", "url"):
            assert join(client, question([{name: elsewhere, "meta": META}, False])).status_code == 400
        for name in ("file", "proxy"):
            assert client.get(f"/page/gradio_api/{name}={elsewhere}").status_code == 404
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.parametrize(
    "route",
    ["run/predict", "run/look", "api/look", "call/look", "call/v2/look", "component_server", "process_recording", "login", "stream/a", "reset", "cancel"],
)  # fmt: skip
def test_handlers_are_reached_only_through_the_queue(client: httpx.Client, route: str) -> None:
    body = {"data": [{"path": "/etc/passwd", "meta": META}], "session_hash": "a", "component_id": 1, "fn_name": "x"}
    refused(client.post(f"/page/gradio_api/{route}", json=body), 404, "not_found")


def test_no_handler_has_a_public_name(client: httpx.Client) -> None:
    handlers = client.get("/page/config").json()["dependencies"]
    assert {one["api_visibility"] for one in handlers} == {"private"}


def test_messages_of_an_unknown_session_are_refused(served: Served, client: httpx.Client) -> None:
    answers = "/page/gradio_api/queue/data"
    size = len(served.log.read_text())
    for address in (answers, f"{answers}?session_hash=nobody"):
        refused(client.get(address), 404, "not_found")
    assert "Traceback" not in served.log.read_text()[size:]
    assert join(client, question([None, False], "one reader")).status_code == 200
    assert "process_completed" in client.get(answers, params={"session_hash": "one reader"}).text


def test_the_preview_of_a_link_is_the_page_s_own(client: httpx.Client) -> None:
    text = client.get("/page/").text
    assert f"<title>{TITLE}</title>" in text
    assert f'<meta property="og:title" content="{TITLE}">' in text
    assert text.count("og:title") == 1
    assert not re.search(r"<meta[^>]*githubusercontent", text)


def test_the_page_may_run_its_own_scripts_and_no_others(client: httpx.Client) -> None:
    answer = client.get("/page/", headers={"Accept-Encoding": "gzip, br"})
    policy = answer.headers["content-security-policy"]
    scripts = next(rule for rule in policy.split("; ") if rule.startswith("script-src"))
    assert "unsafe" not in scripts
    assert policy.count("'sha256-") == len({*re.findall(r"<script[^>]*>(.+?)</script>", answer.text, re.DOTALL)})
    assert "unsafe-eval" not in CONTENT_SECURITY_POLICY
    assert "http" not in CONTENT_SECURITY_POLICY


# What killed servers leave


def test_only_folders_of_killed_processes_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    others = [tmp_path / "stages-page-other", tmp_path / "model-killed", tmp_path / "elsewhere"]
    with temporary.folder("model") as used:
        for path in (tmp_path / "stages-model-killed", *others):
            path.mkdir()
            (path / "file").touch()
        link = tmp_path / "stages-model-link"
        link.symlink_to(others[-1])
        with temporary.folder("model") as another:
            assert set(tmp_path.iterdir()) == {used, another, *others, link}
        assert all((path / "file").exists() for path in others)
    assert not used.exists()
