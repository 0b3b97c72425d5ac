"""`data.source: official`, through prepare itself, from a server on loopback that fails first."""

import functools
import gzip
import hashlib
import io
import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from conftest import Change
from file_servers import FileServer, corrupt, cut_short, file_server, status
from small_bikes import to_uci

from stages.bikes import prepare as bikes_prepare
from stages.bikes.sources import official as bikes_official
from stages.bikes.sources import sample as bikes_sample
from stages.common.errors import InputError
from stages.common.sources import downloads
from stages.mnist import prepare as mnist_prepare
from stages.mnist.sources import official as mnist_official
from stages.mnist.sources import sample as mnist_sample


@pytest.fixture(autouse=True)
def official_source(workspace: Path, change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    change({"data.source": "official"})
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(workspace))
    impatient = functools.partial(downloads.download, attempts=3, wait=0.01)
    for module in (downloads, mnist_official):
        monkeypatch.setattr(module, "download", impatient)


def zipped(name: str, content: str | bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr(name, content)
    return archive.getvalue()


@pytest.fixture
def uci(workspace: Path) -> bytes:
    """The sample's hours as UCI would have published them."""
    folder = workspace / "source"
    folder.mkdir()
    bikes_sample.write(folder)
    train = pd.read_csv(folder / "train.csv")
    test = pd.read_csv(folder / "test.csv").merge(pd.read_csv(folder / "test_answers.csv"), on="datetime")
    hours = pd.concat([train, test.assign(casual=0, registered=test["count"])])
    hours["datetime"] = pd.to_datetime(hours["datetime"])
    return zipped("hour.csv", to_uci(hours).to_csv(index=False))


def publish_bikes(monkeypatch: pytest.MonkeyPatch, server: FileServer, uci: bytes) -> None:
    monkeypatch.setattr(bikes_official, "MIRRORS", [f"{server.url}/bikes.zip"])
    monkeypatch.setattr(bikes_official, "SIZE", len(uci))
    monkeypatch.setattr(bikes_official, "CHECKSUM", f"sha256:{hashlib.sha256(uci).hexdigest()}")


def test_mnist_comes_from_the_mirrors(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = workspace / "source"
    folder.mkdir()
    mnist_sample.write(folder)
    content = {f"/{path.name}.gz": gzip.compress(path.read_bytes(), mtime=0) for path in folder.iterdir()}
    published = {name[1:]: (len(body), hashlib.md5(body).hexdigest()) for name, body in content.items()}
    with file_server(content) as server:
        server.faults = [status(404), cut_short, corrupt]
        monkeypatch.setattr(mnist_official, "MIRRORS", ["http://127.0.0.1:9/", f"{server.url}/gone/", f"{server.url}/"])
        monkeypatch.setattr(mnist_official, "FILES", published)
        mnist_prepare.main()
        asked = len(server.ranges)
        mnist_prepare.main()  # the downloads are kept
    assert len(server.ranges) == asked
    assert json.loads((workspace / "data/mnist/raw/about.json").read_text()) == {"source": "official"}


def test_bikes_come_from_uci_with_the_answers(workspace: Path, monkeypatch: pytest.MonkeyPatch, uci: bytes) -> None:
    with file_server({"/bikes.zip": uci}) as server:
        server.faults = [status(503), cut_short]
        publish_bikes(monkeypatch, server, uci)
        bikes_prepare.main()
    expected = pd.read_csv(workspace / "source/test_answers.csv", parse_dates=["datetime"])
    pd.testing.assert_frame_equal(pd.read_parquet("data/bikes/raw/answers.parquet"), expected, check_dtype=False)


def test_kaggles_own_files_are_taken_with_credentials_and_only_if_they_are_the_known_ones(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, uci: bytes
) -> None:
    kaggle = b"datetime,season\n"
    content = {"/bikes.zip": uci, "/train.csv": zipped("train.csv", kaggle), "/test.csv": b"sign in first"}
    with file_server(content) as server:
        monkeypatch.setenv("KAGGLE_USERNAME", "me")
        monkeypatch.setenv("KAGGLE_KEY", "secret")
        publish_bikes(monkeypatch, server, uci)
        monkeypatch.setattr(bikes_official, "KAGGLE", f"{server.url}/")
        known = dict.fromkeys(["train.csv", "test.csv"], hashlib.sha256(kaggle).hexdigest())
        monkeypatch.setattr(bikes_official, "KAGGLE_FILES", known)
        folder = workspace / "out"
        folder.mkdir()
        with pytest.raises(InputError, match="test.csv: found sha256 .*join the competition"):
            bikes_official.fetch(folder)
    assert (folder / "train.csv").read_bytes() == kaggle
    assert not (workspace / "data/downloads/bikes/test.csv").exists()


def test_without_a_network_the_error_names_address_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist_official, "MIRRORS", ["http://127.0.0.1:9/"])
    with pytest.raises(InputError, match="http://127.0.0.1:9/train-images-idx3-ubyte.gz.*save the file as"):
        mnist_prepare.main()
    assert not Path("data/mnist/raw").exists()
