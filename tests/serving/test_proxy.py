"""The server behind nginx, configured as docs/serving.md says, and what other clients can't say in a proxy's name."""

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import ROOT
from model_servers import CLASSIFIER, Served, exports, record, refused, running, server
from PIL import Image
from playwright.sync_api import Browser, expect
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from stages.serving.forwarded import Forwarded


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with the page, started as the documentation says."""
    folder = exports(tmp_path_factory.mktemp("page"), CLASSIFIER, "mnist", "landmarks")
    documented = re.search(r'make serve ARGS="(--proxy.*)"', (ROOT / "docs/serving.md").read_text())
    assert documented
    with server(folder, *documented[1].split(), "--max-megabytes=0.1", page=True) as one:
        yield one


@contextmanager
def nginx(folder: Path, port: int, **changes: str) -> Iterator[str]:
    """nginx with the configuration of docs/serving.md, in front of the server at ``port``. Yields its address."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        pytest.skip("nginx not found: apt install nginx-light")
    found = re.search(r"```nginx\n(.*?)```", (ROOT / "docs/serving.md").read_text(), re.DOTALL)
    assert found
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = free.getsockname()[1]
    configuration = found[1].replace("listen 80;", f"listen 127.0.0.1:{own};")
    configuration = configuration.replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    for old, new in changes.items():
        configuration = re.sub(old, new, configuration)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"daemon off;\nworker_processes 1;\npid {folder}/pid;\nevents {{}}\nhttp {{ access_log off;\n{paths}{configuration} }}\n"
    )
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]

    def answers(process: subprocess.Popen[bytes]) -> str | None:
        try:
            httpx.get(f"http://127.0.0.1:{own}/", timeout=5)
        except httpx.TransportError:
            return None
        return f"http://127.0.0.1:{own}"

    with running(command, folder, folder / "log", answers) as one:
        yield one.address


@pytest.fixture(scope="module")
def proxied(page: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nginx(tmp_path_factory.mktemp("nginx"), int(page.address.rsplit(":", 1)[1])) as address:
        yield address


def test_the_interface_is_served_below_the_proxys_path(proxied: str) -> None:
    with httpx.Client(base_url=proxied, headers={"Host": "models.example.org"}, trust_env=False, timeout=120) as client:
        assert client.get("/ml/ping").status_code == 200
        assert client.head("/ml/models").headers["content-type"] == "application/json"
        for path in ("/ml/", "/ml/page"):
            assert client.get(path).headers["location"] == "/ml/page/"
        answer = client.post("/ml/models/mnist/invocations", content=b"x", headers={"Content-Type": "image/png"})
        assert answer.json()["predictions"][0]["top"][0]["class"] == "yes"
        html = client.get("/ml/page/").text
        assert '"root":"http://models.example.org/ml/page"' in html
        for source in re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)["']""", client.get("/ml/docs").text):
            assert source.startswith("/ml/")
            assert client.get(source).status_code == 200
        assert client.get("/ml/openapi.json").json()["servers"] == [{"url": "/ml"}]
        refused(client.get("/ml/ping", headers={"Host": "other.example.org"}), 403, "unknown_host")


def test_the_page_works_below_the_proxys_path(proxied: str, browser: Browser, tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), "red").save(tmp_path / "red.png")
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    visit = context.new_page()
    faults: list[str] = []
    elsewhere: list[str] = []
    visit.on("pageerror", lambda error: faults.append(str(error)))
    visit.on("console", lambda one: faults.append(f"{one.text} {one.location}") if one.type == "error" else None)
    visit.on("request", lambda one: elsewhere.append(one.url) if one.url.startswith("http") else None)
    visit.goto(f"{proxied}/ml/")
    visit.get_by_role("tab").first.wait_for()
    visit.locator("#landmarks-picture input[type=file]").set_input_files(tmp_path / "red.png")
    expect(visit.locator("#landmarks-result .bars li")).to_have_count(2)
    shown = visit.locator("#landmarks-picture [data-testid=image] img").first
    expect(shown).to_have_js_property("complete", True)
    assert shown.evaluate("image => image.naturalWidth") == 40
    context.close()
    # Browsers look for an icon in the root of the host, which is the proxy's own.
    assert [fault for fault in faults if "/favicon.ico'" not in fault] == []
    assert {url for url in elsewhere if not url.startswith(f"{proxied}/ml/")} == set()


def test_a_proxy_may_keep_the_prefix_and_leave_it_to_the_server(page: Served, tmp_path: Path) -> None:
    folder = record(page.log.parent)
    with (
        server(folder, "--proxy=127.0.0.0/8", "--root-path=/ml/", "--project=mnist") as one,
        nginx(
            tmp_path,
            int(one.address.rsplit(":", 1)[1]),
            **{r"(proxy_pass .*)/;": r"\1;", r"proxy_set_header X-Forwarded-Prefix.*": ""},
        ) as address,
        httpx.Client(base_url=address, trust_env=False, timeout=120) as client,
    ):
        assert client.get("/ml/ping").status_code == 200
        assert client.get("/ml/").headers["location"] == "/ml/page/"
        answer = client.post("/ml/models/mnist/invocations", content=b"x", headers={"Content-Type": "image/png"})
        assert answer.status_code == 200
        assert one.client().get("/ping").status_code == 200  # without the proxy


def test_forwarding_headers_of_other_clients_are_ignored(tmp_path: Path) -> None:
    folder = exports(tmp_path, CLASSIFIER, "mnist")
    headers = {
        "X-Forwarded-Host": "evil.example.org",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Prefix": "/evil",
        "Forwarded": "host=evil.example.org;proto=https",
        "X-Gradio-Server": "https://evil.example.org",
    }
    with (
        server(folder, "--rate=1", "--proxy=203.0.113.7", page=True, SERVING_TOKEN="open-sesame") as one,
        one.client(headers={"Authorization": "Bearer open-sesame"}) as client,
    ):
        for name in ("127.0.0.1", "localhost"):
            html = client.get("/page/", headers=headers | {"Host": name}).text
            assert f'"root":"http://{name}/page"' in html
            assert "evil" not in html
        assert client.get("/", headers=headers).headers["location"] == "/page/"
        # Neither a new address for each request nor one for each guess.
        addresses = [{"X-Forwarded-For": f"192.0.2.{number}"} for number in range(60)]
        path, wrong = "/models/mnist/invocations", {"Authorization": "Bearer wrong"}
        answers = [client.post(path, content=b"x", headers=address) for address in addresses[:20]]
        assert {answer.status_code for answer in answers} == {200, 429}
        guesses = [client.get("/models", headers=wrong | address) for address in addresses]
        assert {guess.status_code for guess in guesses} == {401, 429}


def forwarded(*headers: tuple[bytes, bytes]) -> Any:
    """Ask an application that tells what it sees of a request. 10.0.0.0/8 are its proxies, of which one asks."""

    async def seen(request: Request) -> JSONResponse:
        scope = request.scope
        told = [scope["client"][0], scope["scheme"], request.headers["host"], scope["root_path"], scope["path"]]
        return JSONResponse({"seen": told, "headers": request.headers.keys()})

    app = Starlette(
        routes=[Route("/models/{rest:path}", seen)],
        middleware=[Middleware(Forwarded, proxies=("10.0.0.0/8",), root_path="")],
    )
    client = TestClient(app, base_url="http://inner", client=("10.0.0.1", 5))
    return client.get("/models/x", headers=list(headers))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("for", b"192.0.2.1, 192.0.2.2", ("192.0.2.2", "http", "inner", "", "/models/x")),
        ("for", b"192.0.2.1, 10.0.0.2", ("192.0.2.1", "http", "inner", "", "/models/x")),
        ("proto", b"https", ("10.0.0.1", "https", "inner", "", "/models/x")),
        ("host", b"first, last", ("10.0.0.1", "http", "last", "", "/models/x")),
        ("prefix", b"/a/b/", ("10.0.0.1", "http", "inner", "/a/b", "/a/b/models/x")),
        ("prefix", b"/models", ("10.0.0.1", "http", "inner", "/models", "/models/models/x")),
        ("prefix", b"", ("10.0.0.1", "http", "inner", "", "/models/x")),
        ("nothing", b"", ("10.0.0.1", "http", "inner", "", "/models/x")),
    ],
)
def test_forwarding_headers_of_a_proxy_are_applied(name: str, value: bytes, expected: tuple[str, ...]) -> None:
    answer = forwarded((f"x-forwarded-{name}".encode(), value), (b"x-gradio-server", b"https://evil")).json()
    assert tuple(answer["seen"]) == expected
    assert not [one for one in answer["headers"] if "forwarded" in one or "gradio" in one]


@pytest.mark.parametrize("prefix", [b"//evil", b"/a//b", b"/..", b"/a/./b", b"evil", b"/a b", b"/\xff", b"/a?b"])
def test_a_prefix_that_is_no_path_is_refused(prefix: bytes) -> None:
    refused(forwarded((b"x-forwarded-prefix", prefix)), 400, "invalid_prefix")
