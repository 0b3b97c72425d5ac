"""Captured pictures that someone has labelled: `data/scones/labelled/labels.csv` and the files that it names.

prepare adds them to the training pictures, so that after labelling some `dvc repro` trains anew. The columns `file` and
`label` are needed, others may stand beside them. A label is the name of a class, or empty while nobody has said.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from stages.common.errors import InputError
from stages.scones.layout import NAME, Entry

FOLDER = Path("data/scones/labelled")
TABLE = "labels.csv"


def read_table(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The columns, and each row's fields by them with the number of its line; nothing if there is no table.

    Raises InputError for what is not a table with the columns `file` and `label`, with line and reason.
    """
    if not path.exists():
        return [], []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            header = list(reader.fieldnames or [])
            if not {"file", "label"} <= set(header):
                raise InputError(
                    f"{path}: header: found {','.join(header)!r}, expected the columns file and label, with commas between"
                )
            rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: found what is not csv ({error}), expected csv in UTF-8") from None
    for line, row in rows:
        if None in row:
            raise InputError(
                f"{path}: line {line}: found more fields than the header's {len(header)}, expected as many"
            )
    return header, rows


def read_list(folder: Path, classes: Sequence[str], row: int) -> list[Entry]:
    """The pictures that have a label, numbered from ``row`` on; none if there is no table.

    Raises InputError that names the line and column of the first fault. The pictures are not looked at.
    """
    path = folder / TABLE
    entries: dict[str, Entry] = {}
    for number, line in read_table(path)[1]:
        name, label = line["file"], line["label"].strip()
        if not label:
            continue
        where = f"{path}: line {number}"
        if label not in classes:
            raise InputError(f"{where}, column label: found {label!r}, expected {', '.join(classes)}, or nothing")
        if not NAME.fullmatch(name) or not (folder / name).is_file():
            raise InputError(f"{where}, column file: found {name!r}, expected a .png file in {folder}")
        if name in entries:
            raise InputError(f"{where}, column file: found {name} for the second time, expected each file once")
        entries[name] = Entry(row + len(entries), classes.index(label), name)
    return list(entries.values())
