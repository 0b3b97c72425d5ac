"""Read and write captured pictures and their labels: a folder with a table, `labels.csv`, and the files that it names.

prepare adds them to the training pictures, so `dvc repro` retrains after new labels. The columns `file` and `label` are
required, others are allowed. A label is the name of a class, or empty for an unlabelled picture. Pictures with `yes` in the
column `held_out` judge models and are not trained on.
"""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from stages.common import files
from stages.common.errors import InputError

TABLE = "labels.csv"

COLUMNS = ["file", "label", "predicted", "confidence", "known", "time", "held_out"]
"""Columns that `add` writes."""

NAME = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*")
"""Name of a file directly in the folder, not hidden."""


def read(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Return the columns, and each row's line number and fields by column. Both are empty if there is no table.

    Raises InputError with line and reason if it is not a table with the columns `file` and `label`.
    """
    if not path.exists():
        return [], []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            header = list(reader.fieldnames or [])
            if not {"file", "label"} <= set(header):
                raise InputError(
                    f"{path}: header: found {','.join(header)!r}, expected the columns file and label, separated by commas"
                )
            rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: found invalid CSV ({error}), expected CSV in UTF-8") from None
    for line, row in rows:
        if None in row:
            raise InputError(
                f"{path}: line {line}: found more fields than the header's {len(header)}, expected {len(header)}"
            )
    # `files.write_rows` writes the apostrophe.
    return header, [(line, {name: text.removeprefix("'") for name, text in row.items()}) for line, row in rows]


def write(path: Path, header: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Write the table, atomically."""
    with files.new_file(path) as partial:
        files.write_rows(partial, header, ([row.get(name, "") for name in header] for row in rows))


def labels(
    folder: Path, there: Mapping[str, Path], classes: Sequence[str], held_out: bool = False, suffix: str = ""
) -> dict[str, int]:
    """Return the labels, indices of ``classes``, by file name in Unicode's form NFC, sorted. Leaves out unlabelled files.

    With ``held_out`` these are the held-out files, otherwise those to train with. ``there`` has the folder's files by name.
    Names have to end in ``suffix``. Raises InputError with the line and column of the first error. Reads no pictures.
    """
    path = folder / TABLE
    found: dict[str, tuple[int, bool]] = {}
    for number, line in read(path)[1]:
        name, label = files.nfc(line["file"]), files.nfc(line["label"].strip())
        if not label:
            continue
        where = f"{path}: line {number}"
        if label not in classes:
            raise InputError(f"{where}, column label: found {label!r}, expected {', '.join(classes)}, or no label")
        usable = NAME.fullmatch(name) and name.endswith(suffix) and name in there and there[name].is_file()
        if not usable:
            kind = f"a {suffix} file" if suffix else "a file"
            raise InputError(f"{where}, column file: found {name!r}, expected {kind} in {folder}")
        if name in found:
            raise InputError(f"{where}, column file: found {name} for the second time, expected each file once")
        if line.get("held_out", "") not in ("yes", ""):
            raise InputError(f"{where}, column held_out: found {line['held_out']!r}, expected yes, or nothing")
        found[name] = classes.index(label), line.get("held_out") == "yes"
    # Sorted, because training depends on the order, which must not be that of arrival.
    return {name: label for name, (label, apart) in sorted(found.items()) if apart == held_out}


def add(folder: Path, pictures: Iterable[tuple[dict[str, str], bytes]]) -> int:
    """Write new pictures, each a row and the bytes of the file that it names, to ``folder``. Return how many are new.

    Existing pictures and labels are not changed. Raises InputError, and writes nothing, if the table is invalid.
    """
    table = folder / TABLE
    header, numbered = read(table)
    rows = [row for _, row in numbered]
    there = {row["file"] for row in rows}
    for row, content in pictures:
        if row["file"] in there:
            continue
        there.add(row["file"])
        with files.new_file(folder / row["file"]) as partial:
            partial.write_bytes(content)
        rows.append(row)
    if len(rows) > len(numbered):
        write(table, list(dict.fromkeys([*header, *COLUMNS])), rows)
    return len(rows) - len(numbered)


def row(
    name: str, predicted: str, confidence: float, known: bool | None, time: str, held_out: bool = False
) -> dict[str, str]:
    """Return the row of an unlabelled picture, with its captured prediction."""
    return {
        "file": name,
        "label": "",
        "predicted": predicted,
        "confidence": f"{confidence:.6f}",
        "known": {True: "yes", False: "no", None: ""}[known],
        "time": time,
        "held_out": "yes" if held_out else "",
    }
