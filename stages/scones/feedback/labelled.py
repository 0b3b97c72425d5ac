"""Read captured pictures with labels from people as entries of a list: see `label_table`."""

from collections.abc import Sequence
from pathlib import Path

from stages.common.sources import label_table
from stages.scones.layout import Entry, by_name

FOLDER = Path("data/scones/labelled")


def read_list(folder: Path, classes: Sequence[str], row: int, held_out: bool = False) -> list[Entry]:
    """Return the pictures with a label, numbered from ``row``, with names in Unicode's form NFC; empty if there is no table.

    With ``held_out`` these are the held-out pictures, otherwise those to train with. Raises InputError with the line and
    column of the first error. Reads no pictures.
    """
    found = label_table.labels(folder, by_name(folder), classes, held_out, ".png")
    return [Entry(row + number, label, name) for number, (name, label) in enumerate(found.items())]
