"""model.tar.gz: the archive in which a trained model is shipped.

It has the layout of SageMaker's PyTorch inference image: the model's files at the top level, and `code/inference.py`
with model_fn, input_fn, predict_fn and output_fn.
"""

import gzip
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.common import files


def pack(archive: Path, members: Mapping[str, Path]) -> None:
    """Write ``members`` (name in the archive: file or folder) as a .tar.gz. The same contents give the same bytes."""
    with (
        files.new_file(archive) as partial,
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, source in sorted(members.items()):
            inner = sorted(source.rglob("*")) if source.is_dir() else [source]
            for path in inner:
                if path.is_file():
                    _add(tar, path, name if path == source else f"{name}/{path.relative_to(source).as_posix()}")


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = path.stat().st_size
    entry.mode = 0o644
    with path.open("rb") as file:
        tar.addfile(entry, file)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an untrusted archive safely.

    Raises TarError for a member that is not a regular file or folder, or that would lie outside ``folder``.
    """
    # Python has its own filter for this only since 3.11.4. Debian 12 has an earlier version.
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            target = (folder / member.name).resolve()
            if not (member.isreg() or member.isdir()) or not target.is_relative_to(folder.resolve()):
                raise tarfile.TarError(f"{archive}: {member.name} is not a regular file or folder below {folder}")
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with tar.extractfile(member) as packed, target.open("wb") as file:  # type: ignore[union-attr]  # is regular
                shutil.copyfileobj(packed, file)


def relative_difference(found: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return |found - expected| / expected for each value. Both arrays have the same shape and values of at least 0."""
    return np.abs(found - expected) / np.maximum(expected, 1e-9)
