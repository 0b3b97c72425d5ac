"""Captured pictures that the classifier was not sure of, put where somebody can label them and prepare finds them."""

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from stages.common import files
from stages.scones import layout
from stages.scones.feedback import labelled
from stages.scones.feedback.captures import Captured
from stages.scones.layout import Bytes

COLUMNS = ["file", "label", "predicted", "confidence", "time"]


def collect(pictures: Iterable[tuple[Captured, Bytes]], threshold: float, classes: Sequence[str], folder: Path) -> int:
    """Put what has a confidence below the threshold into ``folder``, as PNG files with a row each in its labels.csv.

    ``pictures`` are records and their pixels, ``classes`` those of the model that answered. Those that are there already stay
    as they are, with their labels. Returns how many are new. Raises InputError, and writes nothing, for a table with a fault.
    """
    table = folder / labelled.TABLE
    header, numbered = labelled.read_table(table)
    rows = [row for _, row in numbered]
    known = {row["file"] for row in rows}
    new = 0
    for record, pixels in pictures:
        name = f"captured-{hashlib.sha256(record.image).hexdigest()[:12]}.png"
        if record.confidence >= threshold or name in known:
            continue
        known.add(name)
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
                "time": record.time.isoformat(),
            }
        )
    if new:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys([*header, *COLUMNS])), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        with files.new_file(table) as partial:
            partial.write_text(text.getvalue(), encoding="utf-8")
    return new
