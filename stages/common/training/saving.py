"""Write the results of a training: weights and history. Summarise the network."""

import io
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from stages.common import files
from stages.common.training.loop import Row, Trained, Weights
from stages.common.training_settings import TrainingSettings


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


def save(folder: Path, trained: Trained, weights: Weights | None = None) -> None:
    """Write to ``folder`` the history and the ``weights``, by default those that were trained."""
    save_weights(folder / "weights.pt", trained.weights if weights is None else weights)
    write_history(folder / "steps.csv", trained.steps)
    write_history(folder / "epochs.csv", trained.epochs)


def summary(network: nn.Module, settings: TrainingSettings, history: Trained) -> dict[str, int]:
    """Return the numbers of parameters of ``network``, of those that training changed, and the epoch whose weights were kept."""
    parameters = list(network.parameters())
    return {
        "parameters": sum(one.numel() for one in parameters),
        "parameters_trained": sum(one.numel() for one in parameters if one.requires_grad and settings.epochs),
        "kept_epoch": history.best_epoch if settings.keep == "best" else settings.epochs and len(history.epochs),
    }
