"""Collection of captured pictures that are unknown or have a low confidence in the folder where they are labelled and where prepare reads them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from stages.common import files
from stages.scones import layout
from stages.scones.feedback import labelled
from stages.scones.feedback.captures import Captured
from stages.scones.feedback.variants import name_of
from stages.scones.layout import Bytes

COLUMNS = ["file", "label", "predicted", "confidence", "known", "time"]


def collect(pictures: Iterable[tuple[Captured, Bytes]], threshold: float, classes: Sequence[str], folder: Path) -> int:
    """Write pictures that did not pass the ``threshold`` to ``folder`` as PNG files, each with a row in its labels.csv.

    ``pictures`` are records and their pixels, ``classes`` are the answering model's. Existing pictures and labels are
    not changed. Returns the number of new pictures. Raises InputError, and writes nothing, if labels.csv is invalid.
    """
    table = folder / labelled.TABLE
    header, numbered = labelled.read_table(table)
    rows = [row for _, row in numbered]
    there = {row["file"] for row in rows}
    new = 0
    for record, pixels in pictures:
        name = name_of(record)
        if record.passes(threshold) or name in there:
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
            }
        )
    if new:
        columns = list(dict.fromkeys([*header, *COLUMNS]))
        with files.new_file(table) as partial:
            files.write_rows(partial, columns, ([row.get(name, "") for name in columns] for row in rows))
    return new
