"""Trains small networks of the kinds of layers that the projects have, and prints the MD5 of their weights: `name md5`, a line each.

The last lines are of what is computed with one of them, the features by which `known` compares images and its ONNX file, of
mnist's second network before it has learnt, and of images that are rotated and scaled.
"""

import hashlib
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from stages.common.models import inputs, onnx_files
from stages.common.portable import make_portable
from stages.common.training import torch_setup
from stages.common.vision import classifiers, networks, warping
from stages.mnist.learning import second

SIDE, CLASSES, STEPS = 16, 4, 3


def convolutional() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 16, 1)),
        *(nn.Conv2d(16, 16, 5, 1, 2, groups=16), nn.Conv2d(16, 12, 1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(12, CLASSES)),
    )


def connected() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, CLASSES)),
    )


def residual() -> nn.Sequential:
    return networks.residual(CLASSES, 8, 1, 0.0)


class Classifier(nn.Module):
    """The network, for images uint8 (N, SIDE, SIDE, 3)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        answers: Tensor = self.network(images.permute(0, 3, 1, 2) / 255).softmax(1)
        return answers


def exported(weights: dict[str, Tensor]) -> bytes:
    """The ONNX file of the residual network, which holds torch's own layers."""
    network = residual()
    network.load_state_dict(weights)
    form = inputs.Form((SIDE, SIDE, 3), 3, None, "pictures")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        onnx_files.save(Classifier(network), form, (2, SIDE, SIDE, 3), {0: "N"}, path, ["a"] * CLASSES)
        return path.read_bytes()


def train(network: nn.Module, batch: int) -> None:
    """A few steps of each optimizer."""
    for kind in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD):
        optimizer = kind(network.parameters(), lr=0.01, fused=True)
        for step in range(STEPS):
            inputs = torch.randn(batch, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(step))
            logits = network(inputs.to(memory_format=torch.channels_last))
            loss = F.cross_entropy(logits, torch.arange(batch) % CLASSES, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def digest(network: nn.Module) -> str:
    found = hashlib.md5(usedforsecurity=False)
    for layer in network.modules():
        for value in [*layer.parameters(False), *(layer.buffers(False) if isinstance(layer, _BatchNorm) else [])]:
            found.update(value.detach().contiguous().numpy().tobytes())
    return found.hexdigest()


if __name__ == "__main__":
    for name, build, batch in (
        ("convolutional", convolutional, 24),
        ("small-batches", convolutional, 5),
        ("connected", connected, 8),
        ("residual", residual, 24),
    ):
        torch_setup.deterministic(0, 1)
        network = build().to(memory_format=torch.channels_last)
        make_portable(network)
        train(network, batch)
        print(name, digest(network))
    network.eval()
    with torch.no_grad():
        features, _ = classifiers.inspect(network, torch.randn(24, 3, SIDE, SIDE))
        torch_setup.deterministic(0, 1)
        judge = second.Second()
        make_portable(judge)
        opinions = judge(torch.randint(256, (500, 28, 28), dtype=torch.uint8))
        warped = warping.warp(torch.rand(200, 1, 28, 28), torch.randn(200, 2, 3), 28, 28)
    contents = {
        "features": features.numpy().tobytes(),
        "onnx": exported(network.state_dict()),
        "opinions": opinions.numpy().tobytes(),
        "warped": warped.numpy().tobytes(),
    }
    for name, content in contents.items():
        print(name, hashlib.md5(content, usedforsecurity=False).hexdigest())
