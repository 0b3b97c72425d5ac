"""What the whole server answers is what evaluate measured: through HTTP, in random order, many clients at a time, batched."""

import io
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from model_servers import Served, server, shared
from PIL import Image

from stages.bikes import deploy as bikes
from stages.bikes.hours import columns
from stages.common import files
from stages.common.models import bundle
from stages.landmarks import photographs
from stages.scones import layout
from stages.serving.comparison import TOLERANCE, npy

CLIENTS = 16
ROWS = 2000
"""Of a test set, chosen at random where it has more."""


class Evaluated(NamedTuple):
    """A classifier's test set: the bodies of requests, and the names of the classes."""

    bodies: list[bytes]
    classes: list[str]
    content_type: str = "application/octet-stream"


def read_mnist(root: Path) -> Evaluated:
    with np.load(root / "data/mnist/features/test.npz") as test:
        bodies = [npy(image[None]) for image in test["images"]]
    return Evaluated(bodies, [*"0123456789"], "application/x-npy")


def read_landmarks(root: Path) -> Evaluated:
    raw = root / "data/landmarks/raw"
    with photographs.open_archive(raw, "test") as archive:
        bodies = [archive.read(photograph.path) for photograph in photographs.read_index(raw, "test")]
    about = files.read_json(root / "data/landmarks/features/about.json")
    return Evaluated(bodies, [place["name"] for place in about["classes"]])


def read_scones(root: Path) -> Evaluated:
    with np.load(root / "data/scones/features/test.npz") as test:
        bodies = [layout.png(image) for image in test["images"]]
    return Evaluated(bodies, files.read_json(root / "data/scones/features/about.json")["classes"])


READ: dict[str, Callable[[Path], Evaluated]] = {"mnist": read_mnist, "landmarks": read_landmarks, "scones": read_scones}


def ask_all(served: Served, project: str, requests: list[tuple[bytes, dict[str, str]]]) -> list[httpx.Response]:
    """The answers to ``requests`` (body, headers), asked in random order by 16 clients at a time."""
    order = random.Random(0).sample(range(len(requests)), len(requests))
    path = f"/models/{project}/invocations?top=1000"
    with ThreadPoolExecutor(CLIENTS) as pool, served.client() as client:
        asked = {}
        for place in order:
            body, headers = requests[place]
            asked[place] = pool.submit(client.post, path, content=body, headers=headers)
        answers = [asked[place].result() for place in range(len(requests))]
    assert {answer.status_code for answer in answers} == {200}
    return answers


def compare(served: Served, project: str, test: Evaluated) -> None:
    chosen = np.sort(np.random.default_rng(0).permutation(len(test.bodies))[:ROWS])
    requests = [(test.bodies[row], {"Content-Type": test.content_type}) for row in chosen]
    answers = [answer.json()["predictions"][0]["top"] for answer in ask_all(served, project, requests)]
    found = np.zeros((len(chosen), len(test.classes)))
    for row, answer in enumerate(answers):
        likely = {one["class"]: one["probability"] for one in answer}
        assert likely.keys() == set(test.classes)
        assert list(likely.values()) == sorted(likely.values(), reverse=True)
        found[row] = [likely[name] for name in test.classes]
    expected = np.load(ROOT / "reports" / project / "evaluation/probabilities.npy")[chosen]
    assert np.abs(found - expected).max() <= TOLERANCE
    assert np.array_equal(found.argmax(1), expected.argmax(1))
    assert [answer[0]["class"] for answer in answers] == [test.classes[label] for label in expected.argmax(1)]
    assert shared(served, project) > 0, "no request shared a pass with another one"


@pytest.fixture(scope="module")
def repository(pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of what `dvc repro` has made in this working tree."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("models", "reports", "dvc.lock"):
        (folder / name).symlink_to(pipeline / name)
    with server(folder) as served:
        yield served


@pytest.mark.parametrize("project", list(READ))
def test_this_repositorys_models_predict_as_evaluate_when_served(repository: Served, project: str) -> None:
    compare(repository, project, READ[project](ROOT))


@pytest.mark.parametrize("kind", ["text/csv", "application/json"])
def test_this_repositorys_bikes_model_predicts_as_evaluate_when_served(repository: Served, kind: str) -> None:
    hours = pd.read_parquet(ROOT / "data/bikes/features/hours.parquet")
    test = hours.loc[hours["part"] == "test", columns.NAMES].reset_index(drop=True)
    expected = pd.read_csv(ROOT / "reports/bikes/evaluation/test.csv")["predicted"].to_numpy()
    order = np.random.default_rng(0).permutation(len(test))
    chunks = np.array_split(order, 12)
    headers = {"Content-Type": kind, "Accept": kind}
    written = test.assign(datetime=test["datetime"].dt.strftime(columns.FORMAT))
    requests = []
    for chunk in chunks:
        rows = written.iloc[chunk]
        text = rows.to_csv(index=False) if kind == "text/csv" else rows.to_json(orient="records")
        requests.append((text.encode(), headers))
    for chunk, answer in zip(chunks, ask_all(repository, "bikes", requests), strict=True):
        table = kind == "text/csv"
        rows = pd.read_csv(io.StringIO(answer.text)) if table else pd.DataFrame(answer.json()["predictions"])
        assert rows["datetime"].tolist() == written["datetime"].iloc[chunk].tolist()
        assert bundle.relative_difference(rows["count"].to_numpy(), expected[chunk]).max() <= bikes.TOLERANCE


def documented() -> list[str]:
    """The commands by which the documentation asks a server."""
    text = "\n".join((ROOT / name).read_text() for name in ("README.md", "docs/serving.md"))
    return sorted(set(re.findall(r"^\$ (curl .+|python -m stages\.serving\.client .+)$", text, re.MULTILINE)))


@pytest.fixture(scope="module")
def examples(pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the documentation's commands name."""
    folder = tmp_path_factory.mktemp("examples")
    with np.load(pipeline / "data/mnist/features/test.npz") as test:
        for name, image in (("digit.png", test["images"][0]), ("number.png", np.hstack(test["images"][:2]))):
            Image.fromarray(image).resize((10 * image.shape[1], 280), Image.Resampling.BICUBIC).save(folder / name)
    for project, names in {"scones": ["vehicle.png"], "landmarks": ["photograph.jpg", "another.png"]}.items():
        for name, body in zip(names, READ[project](pipeline).bodies, strict=False):
            (folder / name).write_bytes(body)
    hours = pd.read_parquet(pipeline / "data/bikes/features/hours.parquet")
    table = hours.loc[hours["part"] == "test", columns.NAMES]
    table.head(24).to_csv(folder / "hours.csv", index=False, date_format=columns.FORMAT)
    return folder


@pytest.mark.parametrize("command", documented())
def test_a_documented_request_is_answered(
    repository: Served, examples: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    command = command.replace("http://127.0.0.1:8080", repository.address)
    if command.startswith("python"):
        command = f"{sys.executable} {command.removeprefix('python ')} --address {repository.address}"
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = subprocess.run(command, shell=True, cwd=examples, capture_output=True, text=True, check=True)
    expected = "datetime,count\n20" if "bikes" in command else '"top"' if command.startswith("curl") else "%"
    assert expected in done.stdout


def test_there_is_a_documented_request_for_each_project() -> None:
    for project in (*READ, "bikes"):
        assert any(command.startswith("curl") and f"/models/{project}/" in command for command in documented())
