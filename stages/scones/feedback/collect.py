"""Collection of captured pictures that are unknown or have a low confidence in the folder where they are labelled and where prepare reads them."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from stages.common import files
from stages.scones import layout
from stages.scones.feedback import labelled
from stages.scones.feedback.captures import Captured
from stages.scones.feedback.variants import name_of
from stages.scones.layout import Bytes

COLUMNS = ["file", "label", "predicted", "confidence", "known", "time", "held_out"]


def collect(
    pictures: Iterable[tuple[Captured, Bytes]],
    threshold: float,
    classes: Sequence[str],
    folder: Path,
    sample: float = 0.0,
) -> int:
    """Write pictures that did not pass the ``threshold`` to ``folder`` as PNG files, each with a row in its labels.csv.

    ``pictures`` are records and their pixels, ``classes`` are the answering model's. The fraction ``sample`` of them is chosen at
    random and held out: whatever their confidence is, they are written to judge models, and not to be trained on. Existing
    pictures and labels are not changed. Returns the number of new pictures. Raises InputError, and writes nothing, if labels.csv
    is invalid.
    """
    table = folder / labelled.TABLE
    header, numbered = labelled.read_table(table)
    rows = [row for _, row in numbered]
    there = {row["file"] for row in rows}
    new = 0
    for record, pixels in pictures:
        name = name_of(record)
        held_out = at_random(name) < sample
        if (record.passes(threshold) and not held_out) or name in there:
            continue
        there.add(name)
        new += 1
        with files.new_file(folder / name) as partial:
            partial.write_bytes(layout.png(pixels))
        predicted = int(np.argmax(record.probabilities))
        rows.append(
            {
                "file": name,
                "label": "",
                "predicted": classes[predicted] if len(record.probabilities) == len(classes) else str(predicted),
                "confidence": f"{record.confidence:.6f}",
                "known": {True: "yes", False: "no", None: ""}[record.known],
                "time": record.time.isoformat(),
                "held_out": "yes" if held_out else "",
            }
        )
    if new:
        columns = list(dict.fromkeys([*header, *COLUMNS]))
        with files.new_file(table) as partial:
            files.write_rows(partial, columns, ([row.get(name, "") for name in columns] for row in rows))
    return new


def at_random(name: str) -> float:
    """Return a number from 0 to 1 for a picture's ``name``: always the same, and independent of its order and its answer."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) / 2**32
