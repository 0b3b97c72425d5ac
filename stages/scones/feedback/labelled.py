"""Captured pictures with labels from people: `data/scones/labelled/labels.csv` and the files that it names.

prepare adds them to the training pictures, so `dvc repro` retrains after new labels. The columns `file` and `label` are
required, others are allowed. A label is the name of a class, or empty for an unlabelled picture. Pictures with `yes` in the
column `held_out` judge models and are not trained on.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from stages.common.errors import InputError
from stages.common.files import nfc
from stages.scones.layout import NAME, Entry, by_name

FOLDER = Path("data/scones/labelled")
TABLE = "labels.csv"


def read_table(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Return the columns, and each row's line number and fields by column. Both are empty if there is no table.

    An apostrophe in front of a field is left out (`files.write_rows`).

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
    return header, [(line, {name: text.removeprefix("'") for name, text in row.items()}) for line, row in rows]


def read_list(folder: Path, classes: Sequence[str], row: int, held_out: bool = False) -> list[Entry]:
    """Return the pictures with a label, numbered from ``row``, with names in Unicode's form NFC; empty if there is no table.

    They are those to train with, or those that are ``held_out``. Raises InputError with the line and column of the first error. The pictures are not read.
    """
    path = folder / TABLE
    entries: dict[str, Entry] = {}
    chosen: list[Entry] = []
    there = by_name(folder)
    for number, line in read_table(path)[1]:
        name, label = nfc(line["file"]), nfc(line["label"].strip())
        if not label:
            continue
        where = f"{path}: line {number}"
        if label not in classes:
            raise InputError(f"{where}, column label: found {label!r}, expected {', '.join(classes)}, or no label")
        if not NAME.fullmatch(name) or name not in there or not there[name].is_file():
            raise InputError(f"{where}, column file: found {name!r}, expected a .png file in {folder}")
        if name in entries:
            raise InputError(f"{where}, column file: found {name} for the second time, expected each file once")
        if line.get("held_out", "") not in ("yes", ""):
            raise InputError(f"{where}, column held_out: found {line['held_out']!r}, expected yes, or nothing")
        entries[name] = Entry(row, classes.index(label), name)
        if (line.get("held_out") == "yes") == held_out:
            chosen.append(entries[name])
    ordered = sorted(chosen, key=lambda entry: entry.name)  # not as they arrived: a training depends on the order
    return [entry._replace(row=row + number) for number, entry in enumerate(ordered)]
