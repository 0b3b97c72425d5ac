"""Features of a frozen backbone: it gives the same output each time, so they are computed once per view and train a head."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from stages.common import files
from stages.common.training import distributed, torch_setup
from stages.common.vision import backbones
from stages.landmarks.learning.views import Part, Views
from stages.landmarks.model import BATCH


class FrozenViews:
    """A head's inputs: the backbone's features of the central square, of its mirror image, and of augmented views.

    They are stored in memory-mapped files, because they may not fit into memory. Existing files are reused.
    """

    def __init__(
        self, eyes: Views, backbone: nn.Module, views: int, seed: int, precision: str, kept: Sequence[Path]
    ) -> None:
        """Compute the features, or reuse the files ``kept``: one for training and one for validation photographs."""
        one = eyes.middles("valid", torch.arange(1))
        self.eyes, self.seed, self.precision = eyes, seed, precision
        self.backbone = backbones.fused(backbone, one)
        self.shape = answer(self.backbone, one, precision).shape[1:]
        # Maps have as many values as there are positions for each feature: they are kept with half of the bytes.
        self.type = np.float16 if len(self.shape) > 1 else np.float32
        self._of: dict[Part, Tensor] = {
            "train": self._features(kept[0], views, len(eyes.train), self._training_inputs),
            "valid": self._features(kept[1], 1, len(eyes.valid), lambda _, chosen: eyes.middles("valid", chosen)),
        }

    def training(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """Return the features (N, ...) of one randomly sampled view of each training photograph in ``chosen`` (N)."""
        count = distributed.whole(len(chosen))
        views = distributed.share(torch.randint(len(self._of["train"]), (count,), generator=generator))
        return self._of["train"][views, chosen].to(self.eyes.member.mean)

    def middles(self, part: Part, chosen: Tensor) -> Tensor:
        """Return the features, float32 (N, ...), of the middle of the photographs ``chosen`` (N) of ``part``."""
        return self._of[part][0, chosen].to(self.eyes.member.mean)

    def _training_inputs(self, view: int, chosen: Tensor) -> Tensor:
        if view < 2:
            inputs = self.eyes.middles("train", chosen)
            return inputs.flip(3) if view else inputs
        seed = self.seed + 1_000_003 * view + int(chosen[0])
        return self.eyes.training(chosen, torch.Generator().manual_seed(seed))

    def _features(self, kept: Path, views: int, count: int, inputs: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Return the features (views, count, ...) mapped from ``kept``."""
        if not kept.exists():
            with files.new_file(kept) as partial, distributed.alone():
                answers = np.lib.format.open_memmap(partial, "w+", self.type, (views, count, *self.shape))
                with tqdm(desc="landmarks features", total=views * count, unit=" images", unit_scale=True) as bar:
                    for view in range(views):
                        for chosen in torch.arange(count).split(BATCH):
                            features = answer(self.backbone, inputs(view, chosen), self.precision)
                            answers[view, chosen.numpy()] = features.numpy()
                            bar.update(len(chosen))
                answers.flush()
        return torch.from_numpy(np.load(kept, mmap_mode="c"))  # "c", because torch needs writable memory


def answer(network: nn.Module, inputs: Tensor, precision: str) -> Tensor:
    """Return the output of ``network`` for ``inputs`` in eval mode, without gradients, as float32 on the CPU."""
    with torch.no_grad(), torch_setup.autocast(network, precision):
        result: Tensor = network.eval()(inputs).float().cpu()
    return result
