"""Zip files: unpacked whole, or refused with one line before anything is written."""

import io
import os
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


def unpack(archive: Path, max_bytes: int = 10_000_000, max_files: int = 10) -> Path:
    folder = archive.parent / "unpacked"
    unpack_zip(archive, folder, max_bytes=max_bytes, max_files=max_files)
    return folder


def refused(archive: Path, words: str, max_bytes: int = 10_000_000, max_files: int = 10) -> None:
    before = set(archive.parent.parent.rglob("*"))
    with pytest.raises(InputError, match=words) as caught:
        unpack(archive, max_bytes, max_files)
    assert str(caught.value).startswith(f"{archive}: ")
    assert "\n" not in str(caught.value)
    assert set(archive.parent.parent.rglob("*")) == before


def put(**values: object) -> Forgery:
    """Sets fields of a member's entry in the directory."""

    def forgery(member: zipfile.ZipInfo) -> None:
        for field, value in values.items():
            setattr(member, field, value)

    return forgery


def test_files_and_folders_come_out_as_they_went_in(tmp_path: Path) -> None:
    content = {
        "train/a/1.jpg": os.urandom(100_000),
        "train/a/2.jpg": b"",
        "train/b ü/.hidden": b"text" * 50,
        "empty/": b"",
    }
    folder = unpack(pack(tmp_path / "a.zip", content))
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == {name: body for name, body in content.items() if not name.endswith("/")}
    assert (folder / "empty").is_dir()


def test_what_was_there_before_is_replaced(tmp_path: Path) -> None:
    unpack(pack(tmp_path / "a.zip", {"old.jpg": b"old"}))
    assert [path.name for path in unpack(pack(tmp_path / "a.zip", {"new.jpg": b"new"})).iterdir()] == ["new.jpg"]


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../out.jpg",
        "train/../../out.jpg",
        "train/./1.jpg",
        "train//1.jpg",
        "..",
        "..\\out.jpg",
        "C:/out.jpg",
        "c:out.jpg",
        "//server/share/out.jpg",
        "train\\1.jpg",
        "1.jpg\0.exe",
        "line\nbreak.jpg",
        "/",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    refused(pack(tmp_path / "a.zip", {"fine.jpg": b"1", name: b"2"}), "found that name, expected a plain path inside")


@pytest.mark.parametrize("name", ["a" * 256, "ü" * 128, "/".join(["a" * 200] * 11), "a/" * 800 + "b"])
def test_a_name_that_no_file_system_takes_or_that_is_too_deep_is_refused(tmp_path: Path, name: str) -> None:
    refused(
        pack(tmp_path / "a.zip", {"fine.jpg": b"1", name: b"2"}), "found a name that is too long, expected at most 255"
    )


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    forge = {"link": put(external_attr=(kind | 0o777) << 16)}
    refused(pack(tmp_path / "a.zip", {"link": b"/etc/passwd", "link/a": b""}, forge), "'link': found a link or device")


@pytest.mark.parametrize("names", [["a/1.jpg", "A/1.JPG"], ["a", "a/1.jpg"], ["a", "a/"]])
def test_two_members_of_one_name_are_refused(tmp_path: Path, names: list[str]) -> None:
    refused(pack(tmp_path / "a.zip", dict.fromkeys(names, b"1")), "found the same name again")


@pytest.mark.parametrize("flag", [0x1, 0x40, 0x2000])
def test_encrypted_members_are_refused(tmp_path: Path, flag: int) -> None:
    refused(pack(tmp_path / "a.zip", {"a": b"1"}, {"a": put(flag_bits=flag)}), "'a': found an encrypted file")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 99])
def test_methods_that_do_not_unpack_piece_by_piece_are_refused(tmp_path: Path, method: int) -> None:
    forge = {"a": put(compress_type=method)}
    refused(pack(tmp_path / "a.zip", {"a": b"1"}, forge), f"found compression method {method}, expected stored")


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {f"{number}": b"" for number in range(11)})
    refused(archive, "found 11 members, expected at most 10")


def test_too_many_bytes_are_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"a": os.urandom(600), "b": os.urandom(600)})
    refused(archive, "found 1200 bytes in all, expected at most 1000", max_bytes=1000)


def test_a_member_far_larger_than_its_place_is_refused(tmp_path: Path) -> None:
    refused(
        pack(tmp_path / "a.zip", {"a": bytes(5_000_000)}), "'a': found 5000000 bytes in .*, expected at most 100 times"
    )


@pytest.mark.parametrize("field", ["compress_size", "header_offset"])
def test_members_that_share_bytes_are_refused(tmp_path: Path, field: str) -> None:
    forge = {"a": put(compress_size=1500)} if field == "compress_size" else {"b": put(header_offset=5)}
    archive = pack(tmp_path / "a.zip", {"a": os.urandom(1000), "b": os.urandom(1000)}, forge)
    refused(archive, "found an overlap with the next member")


def test_a_member_that_starts_before_the_file_is_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"a": os.urandom(1000)})
    archive.write_bytes(archive.read_bytes()[20:])
    refused(archive, "found an overlap with the next member")


@pytest.mark.parametrize(
    ("forgery", "words"),
    [
        (put(file_size=500), "Bad CRC-32"),  # the rest is never unpacked
        (put(file_size=5000, CRC=zlib.crc32(bytes(range(250)) * 4)), "1000 bytes of 5000"),
        (put(CRC=1), "Bad CRC-32"),
        (put(filename="b"), "File name in directory 'b' and header b'a' differ"),
    ],
)
def test_a_directory_that_lies_is_found_out_and_nothing_is_left(tmp_path: Path, forgery: Forgery, words: str) -> None:
    refused(pack(tmp_path / "a.zip", {"a": bytes(range(250)) * 4}, {"a": forgery}), words)


def test_damaged_bytes_are_found_out_and_nothing_is_left(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"a": os.urandom(1000)})
    body = bytearray(archive.read_bytes())
    body[31] ^= 0xFF
    archive.write_bytes(body)
    refused(archive, "expected a valid zip file")


@pytest.mark.parametrize("length", [0, 10, 500, -10])
def test_a_truncated_archive_is_refused(tmp_path: Path, length: int) -> None:
    archive = pack(tmp_path / "a.zip", {"a": os.urandom(1000)})
    archive.write_bytes(archive.read_bytes()[:length])
    refused(archive, "expected a valid zip file")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "a.zip"
    page.write_text("<html>Not found</html>")
    refused(page, "found File is not a zip file, expected a valid zip file")


def test_a_nested_archive_stays_packed(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as zipped:
        zipped.writestr("../out", "1")
    assert (unpack(pack(tmp_path / "a.zip", {"inner.zip": inner.getvalue()})) / "inner.zip").is_file()
