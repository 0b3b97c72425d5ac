"""Write the results of a training: weights, history and times. Summarise the network."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stages.common import files
from stages.common.portable import Computing
from stages.common.training.loop import Row, Trained, Weights
from stages.common.training_settings import TrainingSettings


@dataclass(frozen=True)
class Learnt:
    """A trained network."""

    history: Trained
    weights: Weights
    device: torch.device
    computing: Computing
    about: dict[str, Any]
    """The project's description of it: what `model.load` needs, numbers of parameters, the epoch kept."""


def save_weights(path: Path, weights: Weights) -> None:
    """Write a state_dict for `torch.load(path, weights_only=True)`. The same weights give the same bytes."""
    buffer = io.BytesIO()  # torch.save would write the file's name into the file
    torch.save({name: value.contiguous() for name, value in weights.items()}, buffer)
    path.write_bytes(buffer.getvalue())


def write_history(path: Path, rows: Sequence[Row]) -> None:
    """Write a history as CSV, with numbers rounded to 6 significant digits."""
    files.write_table(
        path,
        [{name: value if isinstance(value, int) else f"{value:.6g}" for name, value in row.items()} for row in rows],
    )


def save(folder: Path, learnt: Sequence[Learnt]) -> None:
    """Write the weights and the history of each network to its own folder, whose name is its index, in ``folder``."""
    for index, one in enumerate(learnt):
        own = folder / str(index)
        own.mkdir()
        save_weights(own / "weights.pt", one.weights)
        write_history(own / "steps.csv", one.history.steps)
        write_history(own / "epochs.csv", one.history.epochs)


def clock(learnt: Sequence[Learnt], images: int, before: float = 0.0) -> dict[str, float | str]:
    """Return clock readings: seconds of training with the scoring after each epoch, speed, hardware, precision, torch.

    ``images`` is the number of images in an epoch. ``before`` are seconds of preparation, which count, too.
    """
    seconds = sum(one.history.seconds for one in learnt) + before
    first = learnt[0]
    return {
        "seconds": round(seconds, 3),
        "images_per_second": round(images * sum(len(one.history.epochs) for one in learnt) / seconds, 1),
        "device": torch.cuda.get_device_name(first.device) if first.device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "precision": first.computing.precision,
        "portable": first.computing.portable,
    }


def summary(network: nn.Module, settings: TrainingSettings, history: Trained) -> dict[str, int]:
    """Return the numbers of parameters of ``network``, of those that training changed, and the epoch whose weights were kept."""
    parameters = list(network.parameters())
    return {
        "parameters": sum(one.numel() for one in parameters),
        "parameters_trained": sum(one.numel() for one in parameters if one.requires_grad and settings.epochs),
        "kept_epoch": history.best_epoch if settings.keep == "best" else settings.epochs and len(history.epochs),
    }
