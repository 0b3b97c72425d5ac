"""The full MNIST, 70,000 digits, from the mirrors that torchvision uses, with the checksums that torchvision publishes."""

from pathlib import Path

from stages.common import files
from stages.common.sources.downloads import download

# https://github.com/pytorch/vision/blob/main/torchvision/datasets/mnist.py
MIRRORS = ["https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"]
FILES = {  # size in bytes, md5
    "train-images-idx3-ubyte.gz": (9912422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    "train-labels-idx1-ubyte.gz": (28881, "d53e105ee54ea40749a09fcbcd1e9432"),
    "t10k-images-idx3-ubyte.gz": (1648877, "9fb629c4189551a2d022fa330f9573f3"),
    "t10k-labels-idx1-ubyte.gz": (4542, "ec29112dd5afa0611ce80d1b7f02629c"),
}


def fetch(folder: Path) -> None:
    """Fill ``folder`` with the four files, as links to the downloads."""
    for name, (size, md5) in FILES.items():
        kept = files.home() / "data" / "downloads" / "mnist" / name
        download([mirror + name for mirror in MIRRORS], kept, size, f"md5:{md5}")
        (folder / name).symlink_to(kept.resolve())
