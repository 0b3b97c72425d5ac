"""Safe unpacking of untrusted zip files.

An archive can name paths outside its folder, contain links, or unpack to far more than its own size. Its whole
directory is checked before anything is written. While a member is read, zipfile compares its header with the directory,
never returns more bytes than the directory announced, and checks their CRC-32.
"""

import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath, PureWindowsPath

from tqdm import tqdm

from stages.common import files
from stages.common.errors import InputError

MAX_RATIO = 100
"""Largest ratio of a member's unpacked size to its packed size. For photographs it is about 1."""

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Allowed methods. zipfile unpacks them piece by piece; with the other methods, a few bytes can fill the memory."""

MAX_NAME, MAX_PATH = 255, 2048
"""Largest names in bytes. File systems take 255 for a file, and 4096 for a whole path."""

DEEPEST = 50
"""Most parts of a name. Python before 3.13 can't delete a tree of a thousand folders."""

ENCRYPTED = 0x1 | 0x40 | 0x2000  # traditional, strong, and encryption of the directory
HEADER = 30  # minimum bytes before the name in a member's header


def unpack_zip(archive: Path, folder: Path, *, max_bytes: int, max_files: int) -> None:
    """Unpack ``archive`` to ``folder``. The folder appears (and replaces an old one) only when it is complete.

    Unpacks only plain files and folders, at most ``max_files`` of them with at most ``max_bytes`` in total. Raises
    InputError with the member and the problem.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            if fault := next(_faults(members, opened.start_dir, max_bytes, max_files), None):
                raise InputError(f"{archive}: {fault}")
            with files.new_folder(folder) as partial:
                for member in tqdm(members, desc=f"unpacking {archive.name}", unit="file"):
                    _unpack(opened, member, partial)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise InputError(f"{archive}: found {str(error) or 'an early end'}, expected a valid zip file") from error


def _faults(members: Sequence[zipfile.ZipInfo], end: int, max_bytes: int, max_files: int) -> Iterator[str]:
    """Yield the problems in an archive's directory. All members must end before the byte ``end``."""
    if len(members) > max_files:
        yield f"found {len(members)} members, expected at most {max_files}"
    size = sum(member.file_size for member in members)
    if size > max_bytes:
        yield f"found {size} bytes in all, expected at most {max_bytes}"
    for member in members:
        for found, expected in _member_faults(member):
            yield f"{member.orig_filename!r}: found {found}, expected {expected}"
    placed = sorted(members, key=lambda member: member.header_offset)
    starts = [*(member.header_offset for member in placed), end]
    for member, (start, following) in zip(placed, pairwise(starts), strict=True):
        if start < 0 or start + HEADER + len(member.orig_filename) + member.compress_size > following:
            yield f"{member.orig_filename!r}: found an overlap with the next member, expected no overlap"
    # Some file systems ignore case.
    names = [PurePosixPath(member.orig_filename.casefold()) for member in members]
    folders = {folder for name in names for folder in name.parents}
    seen = set()
    for member, name in zip(members, names, strict=True):
        if name in seen or (name in folders and not member.is_dir()):
            yield f"{member.orig_filename!r}: found the same name again, expected it once"
        seen.add(name)


def _member_faults(member: zipfile.ZipInfo) -> Iterator[tuple[str, str]]:
    """Yield the problems of one member: what was found, and what is expected."""
    name = member.orig_filename
    parts = name.removesuffix("/").split("/")
    # zipfile cuts at a NUL; from Python 3.13 on it prefers a second name.
    plain = name == member.filename and name.isprintable()
    if not plain or "\\" in name or PureWindowsPath(name).anchor or {"", ".", ".."} & set(parts):
        yield "that name", "a plain path inside the archive"
    stored = name.encode(errors="surrogateescape")
    if max(map(len, stored.split(b"/"))) > MAX_NAME or len(stored) > MAX_PATH or len(parts) > DEEPEST:
        limits = f"at most {MAX_NAME} bytes for each part, {MAX_PATH} in all and {DEEPEST} parts"
        yield "a name that is too long", limits
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR if member.is_dir() else stat.S_IFREG):
        yield "a link or device", "files and folders"
    if member.flag_bits & ENCRYPTED:
        yield "an encrypted file", "an unencrypted one"
    if member.compress_type not in METHODS:
        yield f"compression method {member.compress_type}", "stored or deflated"
    if member.file_size > MAX_RATIO * member.compress_size:
        yield f"{member.file_size} bytes in {member.compress_size}", f"at most {MAX_RATIO} times as many"


def _unpack(opened: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    target = folder / member.filename
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(member) as packed, target.open("xb") as file:
        shutil.copyfileobj(packed, file)
        if file.tell() != member.file_size:
            raise zipfile.BadZipFile(f"{file.tell()} bytes of {member.file_size} in {member.filename!r}")
