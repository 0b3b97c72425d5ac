"""The real data: CIFAR-100, 600 pictures per class, in the published layout."""

from collections.abc import Sequence
from pathlib import Path

from stages.common import files
from stages.common.sources.downloads import download
from stages.scones import layout
from stages.scones.config import FINE_LABELS
from stages.scones.layout import Entry
from stages.scones.sources import cifar

# https://www.cs.toronto.edu/~kriz/cifar.html; the checksum is the one in Keras (keras/datasets/cifar100.py)
MIRRORS = ["https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"]
SIZE = 169_001_437  # bytes
CHECKSUM = "sha256:85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"


def fetch(folder: Path, classes: Sequence[str]) -> None:
    """Fill ``folder`` with the pictures of ``classes``, fine labels of CIFAR-100."""
    kept = files.home() / "data" / "downloads" / "scones" / "cifar-100-python.tar.gz"
    labels = {FINE_LABELS.index(name): label for label, name in enumerate(classes)}
    for part, split in cifar.read(download(MIRRORS, kept, SIZE, CHECKSUM)).items():
        rows = enumerate(zip(split.labels.tolist(), split.names.tolist(), strict=True))
        # Pictures are numbered by the rows of CIFAR's file, as in the published data set.
        chosen = ((Entry(row, labels[fine], name), split.images[row]) for row, (fine, name) in rows if fine in labels)
        layout.write(folder, part, chosen)
