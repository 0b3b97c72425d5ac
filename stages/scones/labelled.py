"""Captured pictures that someone has labelled: `data/scones/labelled/labels.csv` and the files that it names.

prepare adds them to the training pictures, so that after labelling some `dvc repro` trains anew. The columns `file` and
`label` are needed, others may stand beside them. A label is the name of a class, or empty while nobody has said.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from stages.common.program import InputError
from stages.scones.layout import NAME, Entry

FOLDER = Path("data/scones/labelled")
TABLE = "labels.csv"


def read_list(folder: Path, classes: Sequence[str], row: int) -> list[Entry]:
    """The pictures that have a label, numbered from ``row`` on; none if there is no table.

    Raises InputError that names the line and column of the first fault. The pictures are not looked at.
    """
    path = folder / TABLE
    if not path.exists():
        return []
    entries: dict[str, Entry] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            header = list(reader.fieldnames or [])
            if not {"file", "label"} <= set(header):
                raise InputError(f"{path}: header: found {','.join(header)!r}, expected the columns file and label")
            for line in reader:
                name, label = line["file"], line["label"].strip()
                if not label:
                    continue
                where = f"{path}: line {reader.line_num}"
                if label not in classes:
                    raise InputError(
                        f"{where}, column label: found {label!r}, expected {', '.join(classes)}, or nothing"
                    )
                if not NAME.fullmatch(name) or not (folder / name).is_file():
                    raise InputError(f"{where}, column file: found {name!r}, expected a .png file in {folder}")
                if name in entries:
                    raise InputError(f"{where}, column file: found {name} for the second time, expected each file once")
                entries[name] = Entry(row + len(entries), classes.index(label), name)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: found what is not csv ({error}), expected csv in UTF-8") from None
    return list(entries.values())
