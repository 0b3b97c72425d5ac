"""Photographs as packed bytes: one file of pixels, mapped into memory, and one of sizes and labels.

`<part>.pixels` holds the images one after the other, each uint8 (height, width, 3); `<part>.npz` holds `offsets` int64 (N)
into it, `sizes` int32 (N, 2) of height and width, and `labels` int64 (N). Decoded once, read as often as training likes: only
the crops that a batch needs are touched, so a set may be larger than memory.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Pixels = NDArray[np.uint8]


def write(folder: Path, part: str, images: Iterable[Pixels], labels: Sequence[int]) -> None:
    """Store ``images``, each uint8 (H, W, 3), as they come: no more than one of them is held at a time."""
    offsets, sizes, offset = [], [], 0
    with (folder / f"{part}.pixels").open("wb") as file:
        for image in images:
            offsets.append(offset)
            sizes.append(image.shape[:2])
            offset += file.write(np.ascontiguousarray(image).data)
    np.savez(
        folder / f"{part}.npz",
        offsets=np.array(offsets, np.int64),
        sizes=np.array(sizes, np.int32).reshape(-1, 2),
        labels=np.array(labels, np.int64),
    )


class Store:
    """The images of one part of the features, read from disk as they are asked for."""

    def __init__(self, folder: Path, part: str) -> None:
        with np.load(folder / f"{part}.npz") as index:
            self.offsets, self.sizes, self.labels = index["offsets"], index["sizes"], torch.from_numpy(index["labels"])
        # As a plain array: each slice of a memmap would be a memmap, which takes longer to make than to read.
        self._pixels = np.asarray(np.memmap(folder / f"{part}.pixels", np.uint8, mode="r"))

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> Pixels:
        """One image, uint8 (H, W, 3), a view of the file."""
        height, width = map(int, self.sizes[index])
        begin = int(self.offsets[index])
        view: Pixels = self._pixels[begin : begin + 3 * height * width].reshape(height, width, 3)
        return view

    def crops(self, indices: NDArray[np.int64], side: int, places: NDArray[np.float64] | None = None) -> Tensor:
        """A ``side`` x ``side`` square of each image, uint8 (N, 3, side, side), channels last in memory.

        ``places`` (N, 2) in [0, 1) say where it lies between top and bottom, left and right; None: in the middle.
        """
        squares = np.empty((len(indices), side, side, 3), np.uint8)
        free = self.sizes[indices] - side
        corners = free // 2 if places is None else (places * (free + 1)).astype(np.int64)
        for square, index, (top, left) in zip(squares, indices.tolist(), corners, strict=True):
            square[:] = self.image(index)[top : top + side, left : left + side]
        return torch.from_numpy(squares).permute(0, 3, 1, 2)
