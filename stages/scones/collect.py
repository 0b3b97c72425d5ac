"""Captured pictures that the classifier was not sure of, put where somebody can label them and prepare finds them."""

import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages.common import files
from stages.scones import labelled
from stages.scones.aws.captures import Captured

COLUMNS = ["file", "label", "predicted", "confidence", "time"]


def collect(records: Sequence[Captured], threshold: float, classes: Sequence[str], folder: Path) -> int:
    """Put the pictures with a confidence below the threshold into ``folder``, with a row each in its labels.csv.

    Those that are there already stay as they are, with their labels. Returns how many are new.
    """
    table = folder / labelled.TABLE
    rows = list(csv.DictReader(table.open(encoding="utf-8-sig", newline=""))) if table.exists() else []
    known = {row["file"] for row in rows}
    header = list(dict.fromkeys([*(rows[0] if rows else []), *COLUMNS]))
    new = 0
    for record in records:
        name = f"captured-{hashlib.sha256(record.image).hexdigest()[:12]}.png"
        if record.confidence >= threshold or name in known:
            continue
        known.add(name)
        new += 1
        with files.new_file(folder / name) as partial:
            partial.write_bytes(record.image)
        predicted = int(np.argmax(record.probabilities))
        rows.append(
            {
                "file": name,
                "label": "",
                "predicted": classes[predicted] if predicted < len(classes) else str(predicted),
                "confidence": f"{record.confidence:.6f}",
                "time": record.time.isoformat(),
            }
        )
    if new:
        text = io.StringIO()
        writer = csv.DictWriter(text, header, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        with files.new_file(table) as partial:
            partial.write_text(text.getvalue(), encoding="utf-8")
    return new
