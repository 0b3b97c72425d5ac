"""The predictor: one or several networks that carry their preprocessing with them.

Train, evaluate, plot and export share it: what is served does to a photograph what was done to it when it was measured.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from stages.common import files, program
from stages.common.portable import Computing
from stages.common.vision import pixels
from stages.common.vision.classifiers import build
from stages.landmarks.store import Store

TRAINED = Path("models/landmarks/trained")


class Member(nn.Module):
    """One network with what comes before and after it: uint8 squares (N, 3, S, S) to probabilities float32 (N, classes)."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, mean: list[float], std: list[float], side: int, image_size: int, flip: bool
    ) -> None:
        """The ``side`` x ``side`` pixels in the middle are resized to ``image_size``; ``flip``: seen in the mirror, too."""
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)
        self.side, self.image_size, self.flip = side, image_size, flip

    def inputs(self, squares: Tensor) -> Tensor:
        """What the network takes: float32 (N, 3, image_size, image_size)."""
        seen = pixels.resize_square(pixels.centre_square(squares, self.side), self.side, self.image_size)
        return pixels.normalise(seen, self.mean, self.std)

    def forward(self, squares: Tensor) -> Tensor:
        inputs = self.inputs(squares)
        probabilities: Tensor = self.network(inputs).softmax(1)
        if self.flip:
            probabilities = (probabilities + self.network(inputs.flip(3)).softmax(1)) / 2
        return probabilities


class Predictor(nn.Module):
    """Photographs to the probabilities of their classes: the mean of the members'."""

    def __init__(self, members: list[Member], size: int) -> None:
        """``size`` is the shorter side, in pixels, to which photographs are resized first."""
        super().__init__()
        self.members = nn.ModuleList(members)
        self.size = size

    def squares(self, images: Tensor) -> Tensor:
        """The middle of photographs, uint8 (N, 3, H, W) of any size, as uint8 (N, 3, size, size)."""
        squares: Tensor = pixels.centre_square(pixels.resize_shorter(images, self.size), self.size)
        return squares

    def classify(self, squares: Tensor) -> Tensor:
        """Squares, uint8 (N, 3, size, size), to probabilities, float32 (N, classes)."""
        answers: Tensor = torch.stack([member(squares) for member in self.members]).mean(0)
        return answers

    def forward(self, images: Tensor) -> Tensor:
        """Photographs, uint8 (N, 3, H, W) of any size, to probabilities, float32 (N, classes)."""
        return self.classify(self.squares(images))


def load(folder: Path = TRAINED, measured: bool = False) -> Predictor:
    """The predictor that train stored in ``folder``, on the CPU, ready to predict; ``measured``: computed as in training."""
    program.keep_memory()
    about = files.read_json(folder / "network.json")
    members = []
    for index, member in enumerate(about["members"]):
        network = build(member["network"], member["settings"], len(about["classes"])).network
        if measured:
            Computing(**member["computing"]).repeat(network)
        network.load_state_dict(torch.load(folder / str(index) / "weights.pt", weights_only=True))
        members.append(Member(network, **member["input"]))
    return Predictor(members, about["size"]).eval().to(memory_format=torch.channels_last)


def classify(predictor: Predictor, photographs: Store, batch_size: int = 64) -> Tensor:
    """Probabilities float32 (N, classes) of stored photographs, as `predictor` would give them for the originals."""
    with torch.no_grad():
        return torch.cat(
            [
                predictor.classify(photographs.crops(chosen.numpy(), predictor.size))
                for chosen in torch.arange(len(photographs)).split(batch_size)
            ]
        )
