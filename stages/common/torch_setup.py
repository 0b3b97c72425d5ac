"""What training settings name, made ready in torch: seeds and threads, device, optimizer, schedule."""

import os

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from stages.common.program import InputError
from stages.common.training_settings import TrainingSettings

Schedule = OneCycleLR | ReduceLROnPlateau | None


def deterministic(seed: int, threads: int | None) -> None:
    """Seed torch and let it use only kernels that give the same bytes each time (for the same number of threads)."""
    if threads:
        torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a slow debugging aid
    torch.backends.cudnn.benchmark = False
    torch.manual_seed(seed)


def pick_device(name: str) -> torch.device:
    """The device called ``auto``, ``cpu`` or ``cuda``. Raises InputError for a GPU that isn't there."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError("device = 'cuda' but there is no GPU that torch can use here: set it to auto or cpu")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def build_optimizer(network: nn.Module, settings: TrainingSettings) -> Optimizer:
    """The chosen optimizer over the trainable parameters. Biases and batch norm are not decayed."""
    chosen = settings.adam if settings.optimizer == "adam" else settings.sgd
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": chosen.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if not chosen.weight_decay:  # each group costs a small network's step some 20 us
        groups = [{"params": trainable, "weight_decay": 0.0}]
    if settings.optimizer == "adam":
        return AdamW(groups, lr=chosen.learning_rate, fused=True)
    momentum, nesterov = settings.sgd.momentum, settings.sgd.nesterov
    return SGD(groups, lr=chosen.learning_rate, momentum=momentum, nesterov=nesterov, fused=True)


def build_schedule(optimizer: Optimizer, settings: TrainingSettings, steps: int) -> Schedule:
    """The chosen schedule: one cycle moves after each of ``steps`` batches, plateau after each epoch, constant is None."""
    if settings.schedule == "one_cycle":
        peak = [group["lr"] for group in optimizer.param_groups]
        warmup = settings.one_cycle.warmup
        if abs(warmup * steps - 1) < 1e-6:  # a rise of just one step: torch divides by its length less one
            warmup *= 1.01
        return OneCycleLR(optimizer, peak, total_steps=steps, pct_start=warmup, cycle_momentum=False)
    if settings.schedule == "plateau":
        return ReduceLROnPlateau(optimizer, factor=settings.plateau.factor, patience=settings.plateau.patience)
    return None
