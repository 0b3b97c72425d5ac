"""Writing that is never seen half done, and the few questions that stages ask of a path."""

import csv
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.common.program import InputError


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; it takes ``path``'s place when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside ``path`` to fill; it takes ``path``'s place when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, old = path.with_name(f".{path.name}.partial"), path.with_name(f".{path.name}.old")
    _clear(path, partial, old)  # what a killed run left
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            path.rename(old)
        partial.rename(path)
    finally:
        _clear(path, partial, old)


def _clear(path: Path, partial: Path, old: Path) -> None:
    if old.exists() and not path.exists():  # stopped between the two renames
        old.rename(path)
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def write_json(path: Path, content: Any) -> None:
    """``content`` as indented JSON, atomically. Refuses NaN and infinity, which JSON does not have."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    with new_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """``rows``, at least one and all with the same keys, as CSV with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def require(path: Path, stage: str) -> Path:
    """``path`` if it is there; else an InputError that names the ``stage`` (``prepare@mnist``) that makes it."""
    if not path.exists():
        raise InputError(f"{path} is missing: `dvc repro {stage}` makes it")
    return path


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Hexadecimal digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def digest_of(lines: Iterable[str]) -> str:
    """A short name for all of ``lines``."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def home() -> Path:
    """The checkout whose files outlive a run: the downloads, the checkpoints, and where relative sources start.

    That is the working folder, except under `dvc exp run --temp` and `--queue`, which run in a copy that lies
    in `.dvc/tmp/exps/` of the checkout and is deleted afterwards.
    """
    here = Path.cwd()
    for folder in here.parents:
        if folder.parts[-3:] == (".dvc", "tmp", "exps"):
            return folder.parents[2]
    return here


def kept() -> Path:
    """Where a run keeps what a later one may go on from: outside what DVC deletes or caches."""
    return home() / "models" / "checkpoints"
