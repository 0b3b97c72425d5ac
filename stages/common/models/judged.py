"""A classifier that also returns the familiarity of a picture, as one network for ONNX, where `known.py` can't run."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

NEIGHBOUR = 5  # as `known.NEIGHBOUR`


class Judged(nn.Module):
    """Maps pictures to probabilities, float32 (N, classes), and familiarity, float32 (N), negative for an unknown picture."""

    def __init__(
        self,
        classifier: nn.Module,
        inspect: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]],
        method: str,
        arrays: Mapping[str, NDArray],
    ) -> None:
        """``inspect`` is the classifier's method of that name. ``method`` and ``arrays`` are those of `known`."""
        super().__init__()
        self.classifier, self.inspect, self.method = classifier, inspect, method
        for name in sorted(arrays.keys() - {"method"}):
            self.register_buffer(name, torch.from_numpy(np.asarray(arrays[name], np.float32)))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        probabilities, features, logits = self.inspect(images)
        return probabilities, self.score(features, logits) - self.get_buffer("threshold")

    def score(self, features: Tensor, logits: Tensor) -> Tensor:
        """Return the scores (N) that `known.score` returns."""
        if self.method == "neighbours":
            bank = self.get_buffer("bank")
            return (features @ bank.T).topk(min(NEIGHBOUR, len(bank)), 1).values[:, -1]
        if self.method == "subspace":
            directions = self.get_buffer("directions")
            apart = features - self.get_buffer("centre")
            residual = apart - (apart @ directions) @ directions.T
            return -(residual * residual).sum(1).sqrt()
        return logits.logsumexp(1)
