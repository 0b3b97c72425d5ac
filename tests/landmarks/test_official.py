"""landmarks from their home: downloaded, checked, unpacked in the published layout. A server on loopback stands for it."""

import functools
import io
import itertools
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_servers import FileServer, corrupt, cut_short, file_server, status
from small_photographs import contents

from stages.common.errors import InputError
from stages.common.sources.downloads import download
from stages.landmarks.sources import official

CLASSES = ["00.Haleakala_National_Park", "01.Mount_Rainier_National_Park", "02.Ljubljana_Castle"]
KEPT = Path("data/downloads/landmarks/landmark_images.zip")


def published(train: int = 2, test: int = 1) -> dict[str, bytes]:
    """A data set as it is published, with a few files of each class, and what a Mac adds."""
    members = {"__MACOSX/landmark_images/train/._00.jpg": b"of a Mac", "landmark_images/.DS_Store": b"of a Mac"}
    for part, count in (("train", train), ("test", test)):
        for name, number in itertools.product(CLASSES, range(count)):
            members[f"landmark_images/{part}/{name}/{number:02}.jpg"] = f"{part} {name} {number}".encode()
    return members


def zipped(members: dict[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return archive.getvalue()


@pytest.fixture
def home(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with file_server({"/landmark_images.zip": zipped(published())}) as server:
        monkeypatch.setattr(official, "URLS", [f"{server.url}/landmark_images.zip"])
        monkeypatch.setattr(official, "CLASSES", 3)
        monkeypatch.setattr(official, "PHOTOGRAPHS", {"train": 6, "test": 3})
        monkeypatch.setattr(official, "download", functools.partial(download, attempts=3, wait=0.01))
        yield server


def fetch(folder: str = "out") -> Path:
    place = Path(folder)
    place.mkdir()
    official.fetch(place)
    return place


def test_the_published_layout_and_nothing_else_arrives(home: FileServer) -> None:
    folder = fetch()
    top = "landmark_images/"
    expected = {name.removeprefix(top): body for name, body in published().items() if body != b"of a Mac"}
    assert contents(folder) == expected


def test_a_bad_line_is_survived_and_the_download_is_kept(home: FileServer) -> None:
    home.faults = [status(503), cut_short]
    fetch("first")
    asked = len(home.ranges)
    fetch("second")
    assert len(home.ranges) == asked == 3
    assert home.ranges[-1] is not None  # it went on where the line broke


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (published(train=3), "landmark_images/train: found 9 photographs, expected 6"),
        (published(test=0), "landmark_images/test: found 0 classes, expected 3"),
        ({"page.html": b""}, "landmark_images/train: found 0 classes, expected 3"),
        (published() | {"landmark_images/train/07.Stonehenge/1.jpg": b""}, "found 4 classes, expected 3"),
        (published() | {"../escaped.jpg": b""}, "'../escaped.jpg': found that name"),
    ],
)
def test_another_archive_than_the_published_one_is_refused(
    home: FileServer, members: dict[str, bytes], words: str
) -> None:
    home.content["/landmark_images.zip"] = zipped(members)
    with pytest.raises(InputError, match=f"{words}.*: delete .*landmark_images.zip to download it again"):
        fetch()
    assert not Path("out/train").exists()


def test_damage_that_no_length_shows_is_found(home: FileServer) -> None:
    home.faults = [corrupt]
    with pytest.raises(InputError, match="expected a valid zip file: delete"):
        fetch()


def test_a_truncated_archive_put_there_by_hand_is_refused_and_not_deleted(home: FileServer) -> None:
    KEPT.parent.mkdir(parents=True)
    KEPT.write_bytes(zipped(published())[:-100])
    with pytest.raises(InputError, match="File is not a zip file.*delete"):
        fetch()
    assert KEPT.exists()
    assert home.ranges == []
