"""model.tar.gz: the same bytes for the same model, and no path out of the folder it is unpacked into."""

import io
import os
import re
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from stages import projects
from stages.common.models import bundle


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "inference.py").write_text("def model_fn(model_dir): ...")
    (tmp_path / "weights").write_text("hello ")
    bundle.pack(tmp_path / "model.tar.gz", {"code": tmp_path / "code", "weights": tmp_path / "weights"})
    return tmp_path / "model.tar.gz"


def test_the_same_contents_give_the_same_bytes_and_are_unpacked(archive: Path, tmp_path: Path) -> None:
    first = archive.read_bytes()
    os.utime(tmp_path / "weights", (1, 1))
    bundle.pack(archive, {"weights": tmp_path / "weights", "code": tmp_path / "code"})
    assert archive.read_bytes() == first
    with tarfile.open(archive) as tar:
        assert tar.getnames() == ["code/inference.py", "weights"]
    bundle.unpack(archive, tmp_path / "model")
    assert (tmp_path / "model" / "code" / "inference.py").read_text() == "def model_fn(model_dir): ..."
    assert (tmp_path / "model" / "weights").read_text() == "hello "


def packed(folder: Path, *members: tuple[str, bytes, bytes]) -> Path:
    """An archive of members, each with name, type and content. Links lead to /etc/passwd."""
    with tarfile.open(folder / "evil.tar.gz", "w:gz", format=tarfile.USTAR_FORMAT) as tar:
        for name, kind, content in members:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.linkname = kind, len(content), "/etc/passwd"
            tar.addfile(entry, io.BytesIO(content))
    return folder / "evil.tar.gz"


FILE, FOLDER = tarfile.REGTYPE, tarfile.DIRTYPE
LINKS = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
SPARSE = b"24 GNU.sparse.map=0,1,1\n30 GNU.sparse.size=9999999999\n"
"""Says that a member has ten gigabytes, all zeros but for one byte."""


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("a", FILE, b"1"), ("a/b", FILE, b"2")], "a/b has the path of another member"),
        ([("a", FILE, b"1"), ("a", FOLDER, b"")], "a has the path of another member"),
        ([("a", FOLDER, b""), ("a", FILE, b"1")], "a has the path of another member"),
        ([("a", FILE, b"1"), ("a/b/c", FOLDER, b"")], "has the path of another member"),
        ([("a", FILE, b"1"), ("./a", FILE, b"2")], "a has the path of another member"),
        ([("././@LongLink", tarfile.GNUTYPE_LONGNAME, 1500 * b"a/" + b"b\0"), ("a", FILE, b"1")], "is more than 50 folders deep"),
        (1500 * [("././@LongLink", tarfile.GNUTYPE_LONGNAME, b"a\0")], "is damaged"),
        ([("././@PaxHeader", tarfile.XHDTYPE, SPARSE), ("a", FILE, b"1")], "is not a regular file"),
        ([(".", FILE, b"1")], "is not a regular file or folder below"),
        ([("../evil", FILE, b"x")], "evil is not a regular file or folder below"),
        *(([("weights", kind, b"")], "weights is not a regular file") for kind in LINKS),
        ([("././@PaxHeader", tarfile.XHDTYPE, b"9" * 2**17), ("a", FILE, b"1")], "extended header of 131072 bytes"),
        ([("././@LongLink", tarfile.GNUTYPE_LONGNAME, b"a" * 300 + b"\0"), ("a", FILE, b"1")], "name that is too long"),
        ([("././@LongLink", tarfile.GNUTYPE_LONGNAME, b"a\0b\0"), ("a", FILE, b"1")], None),
    ],
)  # fmt: skip
def test_invalid_members_raise_tarerror(
    tmp_path: Path, members: list[tuple[str, bytes, bytes]], words: str | None
) -> None:
    archive = packed(tmp_path, *members)
    if words is None:  # tarfile ends the name at the NUL
        bundle.unpack(archive, tmp_path / "model")
        return
    with pytest.raises(tarfile.TarError, match=words):
        bundle.unpack(archive, tmp_path / "model")
    assert not (tmp_path / "evil").exists()
    if "is not a regular file" in words:
        assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("keep", [0, 5, 15, 60, 120, -8, -1])
def test_a_truncated_or_damaged_archive_raises_tarerror(archive: Path, tmp_path: Path, keep: int) -> None:
    content = archive.read_bytes()
    changed = content[: len(content) // 2] + b"\x55" + content[len(content) // 2 + 1 :]
    for name, damaged in {"cut": content[:keep], "changed": changed}.items():
        archive.write_bytes(damaged)
        with pytest.raises(tarfile.TarError):
            bundle.unpack(archive, tmp_path / name)


PLACE = re.compile(rb"(?<![\w.:/<-])/(?:Users|home|mnt|opt|root|srv|tmp|usr|var|work)/[\w./-]+|site-packages")


def places(content: bytes) -> set[bytes]:
    """What looks like a path of the machine, also in the members of a zip, such as model.pt."""
    found = set(PLACE.findall(content))
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as inner:
            found = found.union(*(places(inner.read(name)) for name in inner.namelist()))
    return found


@pytest.mark.parametrize("project", projects.names())
def test_no_export_contains_a_path_of_the_machine_that_made_it(pipeline: Path, tmp_path: Path, project: str) -> None:
    export = pipeline / "models" / project / "export"
    bundle.unpack(export / "model.tar.gz", tmp_path)
    files = [path for folder in (export, tmp_path) for path in folder.rglob("*") if path.is_file()]
    here = [str(pipeline).encode(), sys.prefix.encode()]
    assert {path.name: found for path in files if (found := places(path.read_bytes()))} == {}
    assert not [path.name for path in files for place in here if place in path.read_bytes()]
