"""Hostile requests: what the description allows and forbids, damaged files, bombs, lies. Never a 5xx, and the server goes on."""

import json
import random
import shutil
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pictures
import pytest
import torch
from conftest import ROOT
from model_servers import Served, record, refused, schemathesis, server
from sound_requests import COLUMNS, CSV, GOOD, HOUR
from tiny_exports import PROJECTS

from stages import projects
from stages.bikes import inference as bikes
from stages.common.models import bundle
from stages.common.vision import bare, images, known
from stages.landmarks.pictures import regions, saliency
from stages.mnist import drawing
from stages.mnist.ink import ink_areas, ink_contrast, ink_strokes, isolation
from stages.mnist.learning import judging
from stages.scones.endpoint import picture
from stages.serving.comparison import npy

ROUNDS = 60  # for each body


BESIDE = (
    images,
    bare,
    known,
    drawing,
    isolation,
    ink_areas,
    ink_contrast,
    ink_strokes,
    judging,
    regions,
    saliency,
    picture,
)
"""What the code of pictures' models imports."""

BIKES = ROOT / "models" / "bikes" / "export" / "model.tar.gz"


def has_this_code(path: Path) -> bool:
    """Whether the export of bikes is there, and has been made with the code of this working tree."""
    if not path.exists():
        return False
    with tarfile.open(path) as archive:
        packed = archive.extractfile("code/inference.py")
        return packed is not None and packed.read() == Path(str(bikes.__file__)).read_bytes()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Small models that know nothing, with the code that real ones have; bikes takes long to make, so it is the repository's."""
    folder = tmp_path_factory.mktemp("fuzz")
    for name, (module, write, _) in PROJECTS.items():
        place = folder / "models" / name / "export"
        place.mkdir(parents=True)
        torch.manual_seed(0)
        write(place / "model.pt")
        code = {f"code/{Path(str(one.__file__)).name}": Path(str(one.__file__)) for one in (module, *BESIDE)}
        bundle.pack(place / "model.tar.gz", {path.name: path for path in place.iterdir()} | code)
    if has_this_code(BIKES):
        (folder / "models" / "bikes" / "export").mkdir(parents=True)
        shutil.copy(BIKES, folder / "models" / "bikes" / "export")
    with server(record(folder)) as one:
        yield one


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with served.client() as one:
        yield one


@pytest.fixture(params=projects.names())
def project(request: pytest.FixtureRequest, client: httpx.Client) -> str:
    missing = client.get("/models").json()["missing"]
    if request.param in missing:
        assert request.param == "bikes"
        pytest.skip("no export of bikes with this code: `dvc repro export@bikes` makes it")
    return str(request.param)


def ask(client: httpx.Client, project: str, body: bytes, content_type: str, **more: Any) -> httpx.Response:
    headers = {"Content-Type": content_type}
    return client.post(f"/models/{project}/invocations", content=body, headers=headers, **more)


def is_answered_or_refused(response: httpx.Response) -> None:
    assert response.status_code in (200, 400, 422), response.text  # 422: a picture without a digit
    if response.status_code != 200:
        assert response.json()["code"] == ("unreadable" if response.status_code == 400 else "no_digit")
        assert "Traceback" not in response.text


def goes_on(client: httpx.Client, project: str) -> None:
    for body, content_type in GOOD[project]:
        response = ask(client, project, body, content_type)
        assert response.status_code == 200, (content_type, response.text)


def damaged(content: bytes, choose: random.Random) -> bytes:
    """``content`` with bytes changed, cut off, taken out, put in or doubled."""
    way, place = choose.randrange(6), choose.randrange(len(content))
    if way == 0:
        changed = bytearray(content)
        for _ in range(choose.choice((1, 1, 2, 8, 64))):
            changed[choose.randrange(len(changed))] = choose.randrange(256)
        return bytes(changed)
    if way == 1:  # in the header, where a byte does most
        changed = bytearray(content)
        changed[choose.randrange(min(64, len(changed)))] ^= 1 << choose.randrange(8)
        return bytes(changed)
    length = choose.choice((1, 2, 16, 200))
    return {
        2: content[:place],
        3: content[:place] + content[place + length :],
        4: content[:place] + choose.randbytes(length) + content[place:],
        5: content[:place] + content[place : place + length] * 3 + content[place + length :],
    }[way]


def test_damaged_bodies_are_answered_or_refused(client: httpx.Client, project: str) -> None:
    choose, statuses = random.Random(0), set()
    for body, content_type in GOOD[project]:
        for _ in range(ROUNDS):
            response = ask(client, project, damaged(body, choose), content_type)
            is_answered_or_refused(response)
            statuses.add(response.status_code)
    assert statuses - {422} == {200, 400}, "the damage is all too small, or too great"
    goes_on(client, project)


# Bodies made for harm


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG file that says it is so large, whatever is in it."""
    return pictures.png((width, height), 8, 2, data)


def array(header: str, data: bytes = b"") -> bytes:
    """A .npy file with that header."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def claims(dtype: str = "'|u1'", shape: str = "(1, 28, 28)") -> bytes:
    return array(f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}", b"x" * 784)


def hour(**values: Any) -> bytes:
    return json.dumps([HOUR | values]).encode()


STRANGE: list[Any] = [{"a": 1}, {}, [1], [], None, True, 5, "", "x", "\ud800"]

BOMBS: dict[str, dict[str, list[bytes]]] = {
    "image/png": {
        "60000x60000": [png(60_000, 60_000)],
        "a strip": [png(2_000_000_000, 1)],
        "no pixels": [png(0, 0), png(10, 10), b"", b"\x89PNG\r\n\x1a\n"],
        "a bomb": [png(5000, 5000, b"\0" * 75_005_000)[:3000], png(1000, 1000, b"\0" * 50_000_000)],
        "SVG, HTML, a pickle": [b"<svg/>", b"<script>", b"\x80\x04K\x01.", b"PK\x03\x04" * 100, b"II*\0" * 100],
    },
    "application/x-npy": {
        "large": [claims(shape=shape) for shape in (f"({10**12}, 28, 28)", f"({10**30}, 28, 28)", "(5000000000,)")],
        "strange": [claims(shape=shape) for shape in ("(-1, 28, 28)", "(1.5, 28, 28)", "None")],
        "objects": [claims("'|O'"), claims("()"), claims("[('a',)]"), claims("'|V0'", "(1000000000, 28, 28)")],
        "no header": [b"", b"\x93NUMPY", b"\x93NUMPY\x09\0aaaa"],
        "damaged header": [array(text) for text in ("(" * 9000, "{'descr': '''", " \n  1\n 2")],
        "other files": [b"PK\x03\x04garbage" * 10, b"\x80\x04K\x01.", b"cos\nsystem\n(S'true'\ntR."],
        "strips": [npy(np.zeros((1, 1, 100_000, 3), np.uint8)), npy(np.zeros((100_000, 1, 1, 3), np.uint8))],
        "many digits": [npy(np.zeros((12_000, 28, 28), np.uint8))],
    },
    "application/json": {
        "deep": [b"[" * 100_000, b'{"images":' + b"[" * 5000 + b"]" * 5000 + b"}", b'[{"datetime":' * 3000],
        "numbers": [
            *(
                b'{"images": [[[%s]]]}' % value
                for value in (b"NaN", b"1e999", b"9" * 4000, b"9" * 5000, b"-1", b"true")
            ),
            *(
                hour(**{key: value})
                for key in ("temp", "season")
                for value in (float("nan"), 1e300, -1e6, 10**30, 2**63)
            ),
            hour(humidity=10**4000),
            b"[" + json.dumps(HOUR).replace("9.0", "1e999").encode() + b"]",
        ],
        "kinds": [
            *(hour(season=value) for value in STRANGE),
            *(hour(datetime=value) for value in (*STRANGE, "2011-13-01 00:00:00", "2011-01-01 00:30:00")),
            *(json.dumps([HOUR, value]).encode() for value in STRANGE),
            *(json.dumps(value).encode() for value in (*STRANGE, HOUR, [[1]], {"images": None})),
        ],
        "years": [hour(datetime=f"{year}-01-01 00:00:00") for year in ("0001", "1700", "2200", "9999", "-100")],
        "text": [b"", b"\xff\xfe", json.dumps([HOUR]).encode("utf-16"), b"\0", b'{"images":', b'"\\ud800"'],
    },
    "text/csv": {
        "a million columns": [b"," * 1_000_000, CSV + b"," * 1_000_000, b'"a\n",' * 200_000],
        "zeros": [b"\0" * 1000, CSV.replace(b"2011", b"20\x0011"), CSV + b"\0"],
        "quotes": [CSV + b'"', b'"' * 100_001, CSV.replace(b",", b'","')],
        "numbers": [
            CSV.replace(b"50", value) for value in (b"9" * 400, b"9" * 30, b"inf", b"nan", b"0x50", b"1e400", b"")
        ],
        "columns": [CSV.replace(b"season", b"datetime"), CSV.replace(b"season", b""), CSV + b"2011-01-20 02:00:00\n"],
        "text": [b"", b"\n\n\n", b"\xff", CSV.replace(b"2011", b"\xe9"), b"\xef\xbb\xbf" + CSV, COLUMNS.encode()],
    },
}


@pytest.mark.parametrize(("content_type", "what"), [(kind, what) for kind, whats in BOMBS.items() for what in whats])
def test_hostile_bodies_are_answered_or_refused_soon(client: httpx.Client, content_type: str, what: str) -> None:
    models = client.get("/models").json()
    readers = [one["project"] for one in models["models"] if {content_type, "image/*"} & set(one["accepts"])]
    asked = [one for one in readers if content_type != "application/json" or one in ("bikes", "mnist")]
    if not asked:
        pytest.skip("; ".join(models["missing"].values()))
    for name in asked:
        if content_type not in {kind for _, kind in GOOD[name]}:
            continue
        for body in BOMBS[content_type][what]:
            is_answered_or_refused(ask(client, name, body, content_type, timeout=10))
        goes_on(client, name)


@pytest.mark.parametrize("content_type", ["text/csv", "application/json"])
def test_unreadable_hours_raise_only_valueerror(content_type: str) -> None:
    for what, bodies in BOMBS[content_type].items():
        for body in bodies:
            try:
                hours = bikes.input_fn(body, content_type)
            except ValueError:
                continue
            assert len(hours) >= 1, what
            assert np.isfinite(hours[list(HOUR)[1:]]).all(axis=None)


# Headers

FORMS = {
    "application/x-www-form-urlencoded": "curl -d",
    "multipart/form-data": "curl -F",
    "Multipart/Form-Data; boundary=x": "curl -F",
}
"""What is said of a form, by its content type."""
OTHERS = (
    *(f"application/{kind}" for kind in ("pdf", "x-ndjson", "vnd.ms-excel")),
    *("text/plain", "multipart/mixed; boundary=x"),
)
BROKEN = ("/", "*/*", "application", "a/b/c", "\xefmage/png", "application/jsonp", "x" * 5000)
ENCODINGS = ("deflate", "br", "zstd", "gzip, gzip", "identity, identity", "nonsense")
IGNORED = (
    *(("Accept", value) for value in ("", "application/xml", "text/html, */*;q=0.8", "*/*;q=0", "x" * 3000)),
    *(("Content-Encoding", value) for value in ("", "identity", "IDENTITY")),
    *(("Accept-Encoding", "identity;q=0"), ("TE", "trailers"), ("Range", "bytes=9-1,x"), ("If-None-Match", "*")),
    *(("Expect", "nonsense"), ("Cookie", "=;;"), ("Content-Language", "x"), ("X-HTTP-Method-Override", "DELETE")),
    *(("Content-MD5", "wrong"), ("Content-Range", "bytes 0-1/2"), ("X-Forwarded-Prefix", "/other")),
)


def test_wrong_headers_are_ignored_or_refused_with_the_expected_ones(client: httpx.Client, project: str) -> None:
    (body, content_type), path = GOOD[project][0], f"/models/{project}/invocations"

    def post(content: bytes = body, /, **headers: str) -> httpx.Response:
        sent = {"Content-Type": content_type} | {name.replace("_", "-"): value for name, value in headers.items()}
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
        return client.post(path, content=content, headers=encoded)

    accepts = next(one["accepts"] for one in client.get("/models").json()["models"] if one["project"] == project)
    for value in (*FORMS, *OTHERS, *BROKEN):
        words = refused(post(Content_Type=value), 415, "unsupported_type")
        assert all(kind in words for kind in accepts), value
        assert len(words) < 500
        assert ("curl --data-binary @FILE" in words) == (value in FORMS), value
        assert FORMS.get(value, f"found content type {value[:100]!r}") in words
    assert all(kind in refused(post(b""), 400, "unreadable") for kind in accepts)
    for value in ENCODINGS:
        assert "uncompressed or with gzip" in refused(post(Content_Encoding=value), 415, "unsupported_encoding")
    assert "not gzip" in refused(post(Content_Encoding="GZip"), 400, "unreadable")
    usual = post().json()["predictions"]
    for name, value in IGNORED:
        answer = post(**{name: value})
        assert answer.status_code == 200, (name, value, answer.text)
        assert answer.json()["predictions"] == usual, (name, value)
    typed = post(Content_Type=f'{content_type.upper()}; charset=utf-8; name="a b"')
    assert typed.json()["predictions"] == usual


@pytest.mark.parametrize("path", ["/nothing", "/invocations", "/models/mnist", "/ping", "/models", "/metrics", "/docs"])
def test_wrong_paths_and_methods_are_refused_with_the_valid_ones(client: httpx.Client, path: str) -> None:
    headers = {"Content-Type": "multipart/form-data", "Accept": "application/xml", "Content-Encoding": "br"}
    exists = client.get(path, headers=headers).status_code == 200
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        answer = client.request(method, path)
        words = refused(answer, *((405, "method_not_allowed") if exists else (404, "not_found")))
        assert ("send GET" if exists else "/models/{project}/invocations") in words
    assert refused(client.post(path, headers=headers), 415, "unsupported_encoding")


# The description


def test_the_openapi_description_is_true_for_valid_and_invalid_requests(served: Served, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ["--max-examples=60", "--generation-deterministic", "--continue-on-failure"]
    done = schemathesis(served, tmp_path, *options, f"--report-json-path={report}")
    assert done.returncode == 0, done.stdout
    found = json.loads(report.read_text())
    assert found["operations"]["tested"] == 4
    assert found["test_cases"]["generated"] > 100


def test_answers_and_errors_match_the_openapi_description(served: Served, client: httpx.Client, project: str) -> None:
    from schemathesis import openapi  # takes seconds, which all processes of a test run would wait for

    description = openapi.from_url(f"{served.address}/openapi.json")
    path = "/models/{project}/invocations"
    for body, content_type in GOOD[project]:
        for content in (body, b"nonsense"):
            description[path]["POST"].validate_response(ask(client, project, content, content_type))
    description[path]["POST"].validate_response(ask(client, project, b"x", "text/x-unknown"))
    for path in ("/ping", "/models", "/metrics"):
        description[path]["GET"].validate_response(client.get(path))
