"""model.tar.gz: what a trained model is shipped as.

The layout is that of SageMaker's PyTorch inference image: the model's files at the top, `code/inference.py` with
model_fn, input_fn, predict_fn and output_fn beside them.
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
    """Write ``members`` (name in the archive: file or folder) as a .tar.gz: the same contents, the same bytes."""
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
    """Unpack an archive that nobody vouches for: regular files and folders, none outside ``folder``. Raises TarError for others."""
    # Python's own filter for this came with 3.11.4, and Debian 12 has an earlier one.
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            target = (folder / member.name).resolve()
            if not (member.isreg() or member.isdir()) or not target.is_relative_to(folder.resolve()):
                raise tarfile.TarError(f"{archive}: {member.name} is no regular file below the folder")
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with tar.extractfile(member) as packed, target.open("wb") as file:  # type: ignore[union-attr]  # is regular
                shutil.copyfileobj(packed, file)


def relative_difference(found: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each found value is from the expected one, relative to that; both have the same shape, values of at least 0."""
    return np.abs(found - expected) / np.maximum(expected, 1e-9)
