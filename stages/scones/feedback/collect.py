"""Copy captured pictures that are unknown or have a low confidence to the folder for labelling, which prepare reads."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from stages.common.sources import label_table
from stages.scones import layout
from stages.scones.feedback.captures import Captured
from stages.scones.feedback.variants import picture_name
from stages.scones.layout import Bytes


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

    def chosen() -> Iterator[tuple[dict[str, str], bytes]]:
        for record, pixels in pictures:
            name = picture_name(record.image)
            # It depends only on the picture, not on its order or its answer.
            held_out = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) / 2**32 < sample
            if record.passes(threshold) and not held_out:
                continue
            best = int(np.argmax(record.probabilities))
            predicted = classes[best] if len(record.probabilities) == len(classes) else str(best)
            time = record.time.isoformat()
            yield label_table.row(name, predicted, record.confidence, record.known, time, held_out), layout.png(pixels)

    return label_table.add(folder, chosen())
