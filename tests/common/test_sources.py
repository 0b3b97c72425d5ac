"""Data sources: the sample, the official home, a path or a URL; one setting for all projects, or one for each."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.common.errors import InputError
from stages.common.sources.source import Source, SourceSettings, open_source


def write(content: str, folder: Path) -> None:
    (folder / "a.txt").write_text(content)


def read(place: str, own: str | None = None) -> tuple[str, str]:
    """What a project's prepare sees: the content of its file, and the name of the source."""
    Path("params.yaml").write_text(yaml.safe_dump({"data": {"source": place}}))
    with open_source(
        "mnist", SourceSettings(source=own), partial(write, "sample"), partial(write, "official")
    ) as source:
        assert isinstance(source, Source)
        return (source.folder / "a.txt").read_text(), source.name


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout, and beside it a folder with data for mnist."""
    for folder in ("checkout", "sets/mnist", "sets/bikes"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "sets/mnist/a.txt").write_text("mine")
    monkeypatch.chdir(tmp_path / "checkout")
    return tmp_path


@pytest.mark.parametrize(
    ("common", "own", "content"),
    [
        ("sample", None, "sample"),
        ("official", None, "official"),
        ("../sets", None, "mine"),  # a folder for each project
        ("../sets", "sample", "sample"),
        ("sample", "../sets", "mine"),
        ("sample", "../sets/mnist", "mine"),
    ],
)
def test_a_project_s_own_source_overrides_the_common_one(common: str, own: str | None, content: str) -> None:
    assert read(common, own) == (content, own or common)


def test_a_path_may_be_absolute_and_a_relative_one_means_the_same_in_dvc_s_temporary_copies(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read(str(place / "sets")) == ("mine", str(place / "sets"))
    copy = place / "checkout/.dvc/tmp/exps/tmp1"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert read("../sets") == ("mine", "../sets")


@pytest.mark.parametrize(
    ("common", "own", "words"),
    [
        ("../no", None, "data.source = '../no' is not allowed: there is no folder .*no"),
        ("sample", "../no", "data.mnist.source = '../no' is not allowed: there is no folder .*no"),
        ("..", None, "data.source = '..' is not allowed: there is no folder .*/mnist"),
    ],
)
def test_a_missing_folder_is_named_with_its_setting(common: str, own: str | None, words: str) -> None:
    with pytest.raises(InputError, match=f"{words}, expected sample, official"):
        read(common, own)


def test_a_url_is_copied_once_and_again_when_it_changes(place: Path) -> None:
    url = (place / "sets").as_uri()
    assert read(url) == ("mine", url)
    (place / "sets/mnist/a.txt").write_text("changed")
    (place / "sets/mnist/b.txt").write_text("new")
    assert read(url) == ("changed", url)
    (place / "sets/mnist/b.txt").unlink()
    read(url)
    assert {path.name for path in place.glob("checkout/data/downloads/mnist/*/*")} == {"a.txt"}


def test_an_http_folder_is_read_from_its_listing(place: Path) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=str(place))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/sets"
        assert read(url) == ("mine", url)
        (place / "sets/mnist/a.txt").write_text("next")  # as long as before: no server of listings tells them apart
        assert read(url) == ("next", url)
        server.shutdown()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/sets", "nonsense://x/y"])
def test_a_url_that_can_t_be_read_is_named_with_the_remedy(url: str) -> None:
    with pytest.raises(InputError, match=f"{url}.*") as caught:
        read(url)
    assert "check the address" in str(caught.value) or "there is no folder" in str(caught.value)


def test_an_s3_prefix_is_read_with_the_usual_credentials(s3: Any) -> None:
    s3.put_object(Bucket="bucket", Key="v1/mnist/a.txt", Body=b"from s3")
    assert read("s3://bucket/v1") == ("from s3", "s3://bucket/v1")
