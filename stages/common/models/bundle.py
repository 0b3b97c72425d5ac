"""Pack and unpack model.tar.gz, the archive with a trained model.

It has the layout of SageMaker's PyTorch inference image: the model's files at the top level, and `code/inference.py`
with model_fn, input_fn, predict_fn and output_fn.
"""

import errno
import gzip
import shutil
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.common import files

EXTENDED = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
LARGEST_HEADER = 2**16
"""Largest accepted extended header in bytes. It holds a member's long name."""

DEEPEST = 50
"""Most folders in a member's name. Python before 3.13 can't delete a tree of a thousand."""


def pack(archive: Path, members: Mapping[str, Path]) -> None:
    """Write ``members`` (name in the archive: file or folder) as a .tar.gz. The same contents give the same bytes."""
    with (
        files.new_file(archive) as partial,
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, source in sorted(members.items()):
            for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
                if path.is_file():
                    entry = tarfile.TarInfo(Path(name, path.relative_to(source)).as_posix())
                    entry.size = path.stat().st_size
                    with path.open("rb") as file:
                        tar.addfile(entry, file)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an untrusted archive safely.

    Raises TarError for any fault of the archive: damage, or a member that is not a regular file or folder, is sparse (a few
    bytes would fill the disk), would be outside ``folder`` or too deep in it, or has the path of another file. Raises
    OSError only for errors of the disk, such as a full one.
    """
    try:
        with tarfile.open(archive, "r:gz", tarinfo=_Member) as tar:
            for member in tar:
                _unpack(tar, member, folder.resolve(), f"{archive}: {member.name[:100]}")
            while tar.fileobj.read(2**20):  # to the end, where gzip's checksum is
                pass
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.ReadError, ValueError, RecursionError) as error:
        raise tarfile.TarError(f"{archive} is damaged: {str(error) or type(error).__name__}") from None


class _Member(tarfile.TarInfo):
    """A member whose extended header, which tarfile reads into memory, is bounded. The method is tarfile's hook for this."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in EXTENDED and self.size > LARGEST_HEADER:
            raise tarfile.TarError(
                f"{tar.name!r}: found an extended header of {self.size} bytes, expected at most {LARGEST_HEADER}"
            )
        return super()._proc_member(tar)  # type: ignore[misc,no-any-return]


def _unpack(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, name: str) -> None:
    if member.name.count("/") > DEEPEST:
        raise tarfile.TarError(f"{name}... is more than {DEEPEST} folders deep")
    # Python has its own filter for this only since 3.11.4. Debian 12 has an earlier version.
    target = (folder / member.name).resolve()
    below = target.is_relative_to(folder) and (member.isdir() or target != folder)
    if not (member.isreg() or member.isdir()) or member.issparse() or not below:
        raise tarfile.TarError(f"{name} is not a regular file or folder below {folder}")
    try:
        (target if member.isdir() else target.parent).mkdir(parents=True, exist_ok=True)
        if not member.isdir():
            with tar.extractfile(member) as packed, target.open("xb") as file:  # type: ignore[union-attr]  # is regular
                shutil.copyfileobj(packed, file)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise tarfile.TarError(f"{name} has the path of another member") from None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise tarfile.TarError(f"{name} has a name that is too long") from None


def relative_difference(found: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return |found - expected| / expected for each value. Both arrays have the same shape and values of at least 0."""
    return np.abs(found - expected) / np.maximum(expected, 1e-9)
