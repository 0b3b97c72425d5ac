"""Write the trained network's weights as a state_dict with the names fc1, fc2, ...: those of the usual network of linear layers.

    python -m stages.mnist.learning.state_dict net.pth
    net.load_state_dict(torch.load("net.pth", weights_only=True))   # in another program

That network takes pixels in [0, 1] that are normalised with mean 0.1307 and standard deviation 0.3081, has a ReLU after
each layer but the last, and gives logits. `mnist.weights` takes such a file, too.
"""

import argparse
from pathlib import Path

from torch import nn

from stages.common import files
from stages.common.errors import InputError
from stages.common.program import run
from stages.common.training import saving
from stages.mnist.model import TRAINED, load


def main(path: Path) -> None:
    networks = load(files.require(TRAINED, "train@mnist")).networks
    if len(networks) > 1:
        raise InputError(f"the trained model has {len(networks)} networks: expected one, not mnist.network: ensemble")
    network = networks[0]
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    others = [type(layer).__name__ for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.BatchNorm1d)]
    if others:
        raise InputError(
            f"the trained network has {others[0]}: expected linear layers only: train with mnist.network: mlp and "
            "mnist.mlp.batch_norm: false, or load models/mnist/trained/0/weights.pt"
        )
    named = {f"fc{number}": layer for number, layer in enumerate(layers, 1)}
    weights = {f"{name}.{part}": value for name, layer in named.items() for part, value in layer.state_dict().items()}
    with files.new_file(path) as partial:
        saving.save_weights(partial, weights)
    print(f"{path}: {', '.join(f'{name} {list(layer.weight.shape)}' for name, layer in named.items())}")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, help="the file to write, such as net.pth")


if __name__ == "__main__":
    run(main, arguments)
