"""Atomic writes of files and folders, digests, and the paths that stages share."""

import csv
import hashlib
import io
import json
import re
import shutil
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.common.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

CONFLICT = re.compile(rb"^(<{7}|>{7})( |\r?$)", re.MULTILINE)
WRITTEN = [
    "params.yaml",
    "dvc.yaml",
    "recipes.yaml",
    "metrics/*.yaml",
    "data/*/labelled/*.csv",
    "benchmarks/results/*.json",
]
MADE = ["dvc.lock", "reports/*/*.json"]
"""Files in git that people write, and files that stages make."""

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.ASCII)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to. It replaces ``path`` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path`` to fill. It replaces ``path`` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, old = path.with_name(f".{path.name}.partial"), path.with_name(f".{path.name}.old")
    _clear(path, partial, old)  # remains of a killed run
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            path.rename(old)
        partial.rename(path)
    finally:
        _clear(path, partial, old)


def _clear(path: Path, partial: Path, old: Path) -> None:
    if old.exists() and not path.exists():  # killed between the two renames
        old.rename(path)
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as indented JSON, atomically. Raises ValueError for NaN and infinity: JSON has neither."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    with new_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write ``rows`` as CSV with a header. There is at least one row, and all have the same keys."""
    write_rows(path, list(rows[0]), (row.values() for row in rows))


def write_rows(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Write CSV that is safe in a spreadsheet: an apostrophe, which `read_rows` removes, precedes text like a formula."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([_cell(value) for value in row] for row in rows)


def read_rows(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file that `write_rows` wrote, by column."""
    for row in csv.DictReader(lines):
        yield {name: text.removeprefix("'") for name, text in row.items()}


def _cell(value: object) -> object:
    """Return ``value``, with an apostrophe in front if it is text that starts like a formula, or with an apostrophe."""
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "'")):
        return value
    return value if NUMBER.fullmatch(value) else f"'{value}"


def write_arrays(path: Path, **arrays: "ArrayLike") -> None:
    """Write ``arrays`` by name as an uncompressed .npz: the same bytes with any Python, unlike those of numpy.savez."""
    import numpy as np  # takes a moment, which many programs do not need

    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asanyarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue())


def refuse_conflicts() -> None:
    """Raise InputError if git left a merge conflict in one of the project's files."""
    for pattern in WRITTEN + MADE:
        for path in sorted(Path().glob(pattern)):
            if CONFLICT.search(path.read_bytes()):
                one_side = f"take one side with `git checkout --ours {path}`, run `make repro`"
                remedy = "edit it" if pattern in WRITTEN else one_side
                raise InputError(f"merge conflict in {path}: {remedy}, then `git add {path}`")


def require(path: Path, stage: str) -> Path:
    """Return ``path``. Raises InputError if it is missing, with the ``stage`` (``prepare@mnist``) that makes it."""
    if not path.exists():
        raise InputError(f"{path} is missing: `dvc repro {stage}` makes it")
    return path


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def digest_of(lines: Iterable[str]) -> str:
    """Return a digest of ``lines``, of 16 hexadecimal digits."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def nfc(name: str) -> str:
    """Return a file's ``name`` in Unicode's form NFC. Macs and some archives store the form NFD, which looks the same."""
    return unicodedata.normalize("NFC", name)


def home() -> Path:
    """Return the checkout that keeps downloads and checkpoints after a run, and where relative sources start.

    It is the working folder, except under `dvc exp run --temp` and `--queue`. These run in a copy in `.dvc/tmp/exps/`
    of the checkout, which is deleted afterwards.
    """
    here = Path.cwd()
    for folder in here.parents:
        if folder.parts[-3:] == (".dvc", "tmp", "exps"):
            return folder.parents[2]
    return here


def kept() -> Path:
    """Return the folder for checkpoints. It is outside what DVC deletes or caches, so that a later run can resume."""
    return home() / "models" / "checkpoints"
