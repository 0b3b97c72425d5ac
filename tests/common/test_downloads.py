"""Downloads: resumed, retried, verified; a failure names the address and the remedy."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_servers import Fault, FileServer, corrupt, cut_short, file_server, stall, status

from stages.common.errors import InputError
from stages.common.sources.downloads import download

BODY = bytes(range(256)) * 400
MD5 = f"md5:{hashlib.md5(BODY).hexdigest()}"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server({"/data.gz": BODY}) as running:
        yield running


def fetch(server: FileServer, folder: Path, name: str = "data.gz") -> Path:
    urls = [f"{server.url}/{name}"]
    return download(urls, folder / "data.gz", len(BODY), MD5, attempts=3, stalled=0.5, wait=0.01)


def test_a_file_is_fetched_once_and_progress_is_shown(
    server: FileServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert fetch(server, tmp_path).read_bytes() == BODY
    assert len(server.ranges) == 1
    assert "data.gz: 100%" in capfd.readouterr().err


@pytest.mark.parametrize("fault", [status(500), status(503), status(429), corrupt, stall, cut_short])
def test_a_temporary_error_is_retried(server: FileServer, tmp_path: Path, fault: Fault) -> None:
    server.faults = [fault, fault]
    assert fetch(server, tmp_path).read_bytes() == BODY
    assert [path.name for path in tmp_path.iterdir()] == ["data.gz"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (status(500), "HTTP 500"),
        (corrupt, "md5 .* instead of"),
        (stall, "timed out|bytes instead of|closed|ReadTimeout"),
        (cut_short, "bytes instead of|closed"),
    ],
)
def test_a_permanent_error_names_the_address_and_the_remedy(
    server: FileServer, tmp_path: Path, fault: Fault, words: str
) -> None:
    server.faults = [fault] * 9
    with pytest.raises(InputError, match=words) as caught:
        fetch(server, tmp_path)
    assert f"{server.url}/data.gz" in str(caught.value)
    assert "save the file as" in str(caught.value)
    assert not (tmp_path / "data.gz").exists()


@pytest.mark.parametrize("more", [[], [status(500), status(500)]], ids=["this run", "a later run"])
def test_a_download_is_resumed_where_it_was_interrupted(server: FileServer, tmp_path: Path, more: list[Fault]) -> None:
    server.faults = [cut_short, *more]
    if more:
        with pytest.raises(InputError, match="HTTP 500"):
            fetch(server, tmp_path)
    assert fetch(server, tmp_path).read_bytes() == BODY
    assert [server.ranges[0], server.ranges[-1]] == [None, f"bytes={len(BODY) // 2}-"]
    assert len(server.ranges) == 2 + len(more)


def test_a_missing_file_is_not_requested_again(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="404"):
        fetch(server, tmp_path, "other.gz")
    assert len(server.ranges) == 1


@pytest.mark.parametrize("name", ["data.gz", "data.gz.part"])
def test_a_whole_or_partial_file_with_other_content_is_downloaded_again(
    server: FileServer, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(b"something else")
    assert fetch(server, tmp_path).read_bytes() == BODY
