"""Zip files: unpacked whole, or refused with one line before anything is written."""

import os
import random
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.common.errors import InputError
from stages.landmarks.sources.intake.archives import unpack_zip

Forgery = Callable[[zipfile.ZipInfo], None]


def pack(path: Path, members: dict[str, bytes], forge: dict[str, Forgery] | None = None) -> Path:
    """A zip of ``members``; ``forge`` changes what its directory says of some of them."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members.items():
            member = zipfile.ZipInfo("placeholder")
            member.filename, member.compress_type = name, zipfile.ZIP_DEFLATED
            zipped.writestr(member, content)
        for member in zipped.infolist():
            if forge and member.filename in forge:
                forge[member.filename](member)
    return path


def unpack(archive: Path) -> Path:
    folder = archive.parent / "unpacked"
    unpack_zip(archive, folder, max_bytes=10_000_000, max_files=10)
    return folder


def refused(archive: Path, words: str) -> None:
    before = set(archive.parent.parent.rglob("*"))
    with pytest.raises(InputError, match=words) as caught:
        unpack(archive)
    assert str(caught.value).startswith(f"{archive}: ")
    assert "\n" not in str(caught.value)
    assert set(archive.parent.parent.rglob("*")) == before


def put(**values: object) -> dict[str, Forgery]:
    """Sets fields of the entry of `a` in the directory."""

    def forgery(member: zipfile.ZipInfo) -> None:
        for field, value in values.items():
            setattr(member, field, value)

    return {"a": forgery}


def test_files_and_folders_come_out_as_they_went_in_and_replace_older_ones(tmp_path: Path) -> None:
    content = {
        "train/a/1.jpg": os.urandom(100_000),
        "train/a/2.jpg": b"",
        "train/b ü/.hidden": b"text" * 50,
        "empty/": b"",
        "inner.zip": pack(tmp_path / "inner.zip", {"../out": b"1"}).read_bytes(),  # it stays packed
    }
    unpack(pack(tmp_path / "a.zip", {"old.jpg": b"old"}))
    folder = unpack(pack(tmp_path / "a.zip", content))
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == {name: body for name, body in content.items() if not name.endswith("/")}
    assert (folder / "empty").is_dir()


ELSEWHERE = [
    *("/etc/passwd", "../out.jpg", "train/../../out.jpg", "train/./1.jpg", "train//1.jpg", "..", "..\\out.jpg", "/"),
    *("C:/out.jpg", "c:out.jpg", "//server/share/out.jpg", "train\\1.jpg", "1.jpg\0.exe", "line\nbreak.jpg"),
]
TOO_LONG = ["a" * 256, "ü" * 128, "/".join(["a" * 200] * 11), "a/" * 800 + "b"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        *((["fine.jpg", name], "found that name, expected a plain path inside") for name in ELSEWHERE),
        *((["fine.jpg", name], "found a name that is too long, expected at most 255") for name in TOO_LONG),
        *((names, "found the same name again") for names in (["a/1.jpg", "A/1.JPG"], ["a", "a/1.jpg"], ["a", "a/"])),
        ([str(number) for number in range(11)], "found 11 members, expected at most 10"),
    ],
)
def test_names_that_lead_elsewhere_or_that_no_file_system_takes_are_refused(
    tmp_path: Path, names: list[str], words: str
) -> None:
    refused(pack(tmp_path / "a.zip", dict.fromkeys(names, b"1")), words)


DEVICES = [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR]
LESS = bytes(range(250)) * 4
NOISE = random.Random(0).randbytes(1000)  # the same in all processes of a test run, which compare the tests' names
METHODS = [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 99]


@pytest.mark.parametrize(
    ("content", "forge", "words"),
    [
        *((b"/etc/passwd", put(external_attr=(kind | 0o777) << 16), "'a': found a link or device") for kind in DEVICES),
        *((b"1", put(flag_bits=flag), "'a': found an encrypted file") for flag in (0x1, 0x40, 0x2000)),
        *((b"1", put(compress_type=kind), f"found compression method {kind}, expected stored") for kind in METHODS),
        (bytes(9_900_000), {}, "'a': found 9900000 bytes in .*, expected at most 100 times"),
        (bytes(10_000_000), {}, "found 10002000 bytes in all, expected at most 10000000"),
        (NOISE, put(compress_size=2500), "'a': found an overlap with the next member"),
        (NOISE, put(header_offset=1500), "found an overlap with the next member"),
        (LESS, put(file_size=500), "Bad CRC-32"),  # the rest is never unpacked
        (LESS, put(file_size=5000, CRC=zlib.crc32(LESS)), "1000 bytes of 5000"),
        (LESS, put(CRC=1), "Bad CRC-32"),
        (LESS, put(filename="c"), "File name in directory 'c' and header b'a' differ"),
    ],
)
def test_members_that_cannot_be_what_they_say_are_refused_and_nothing_is_left(
    tmp_path: Path, content: bytes, forge: dict[str, Forgery], words: str
) -> None:
    refused(pack(tmp_path / "a.zip", {"a": content, "b": os.urandom(2000)}, forge), words)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda body: body[20:], "found an overlap with the next member"),  # it starts before the file
        (lambda body: body[:31] + bytes([body[31] ^ 0xFF]) + body[32:], "expected a valid zip file"),
        *((lambda body, end=end: body[:end], "expected a valid zip file") for end in (0, 10, 500, -10)),
        (lambda _: b"<html>Not found</html>", "found File is not a zip file, expected a valid zip file"),
    ],
)
def test_a_damaged_or_truncated_archive_is_refused_and_nothing_is_left(
    tmp_path: Path, damage: Callable[[bytes], bytes], words: str
) -> None:
    archive = pack(tmp_path / "a.zip", {"a": os.urandom(1000)})
    archive.write_bytes(damage(archive.read_bytes()))
    refused(archive, words)
