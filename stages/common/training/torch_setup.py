"""Set up torch from training settings: seed, threads, device, precision, optimizer, schedule."""

import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

import stages
from stages.common import program, training_settings
from stages.common.errors import InputError
from stages.common.portable import Computing, is_portable
from stages.common.training import distributed
from stages.common.training_settings import TrainingSettings

Schedule = OneCycleLR | ReduceLROnPlateau | None


def deterministic(seed: int, threads: int | None) -> None:
    """Seed torch and limit it to kernels that give the same bytes each time (for the same number of threads).

    On a GPU, an operation without such a kernel is used with torch's warning, and products of float32 are not rounded
    to TF32, torch's default for convolutions.
    """
    if threads:
        torch.set_num_threads(threads)
    program.keep_memory()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a slow debugging aid
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(seed)


def pick_device(name: str) -> torch.device:
    """Return the device for ``auto``, ``cpu`` or ``cuda``. Raises InputError for ``cuda`` without a GPU."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError("device = 'cuda' is not allowed: torch finds no GPU here, set it to auto or cpu")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


SLOWDOWN = 11
"""Time with emulated bfloat16 / time with float32, for training MobileNetV2 on AMD Zen 3."""


def pick_precision(name: str, device: torch.device, project: str) -> str:
    """Return `float32` or `bfloat16` for the choice ``name``, the same in all processes. Prints what `auto` chose.

    `auto` is bfloat16 if the hardware multiplies it: CPUs with AVX512-BF16 or AMX, GPUs of compute capability 8 or
    higher. On a CPU, `engine.portable` limits oneDNN to AVX2, and so to float32. Prints a warning if bfloat16 will be
    emulated.
    """
    chosen: str = distributed.of_first("bfloat16" if _multiplies_bfloat16(device) else "float32")
    if distributed.rank() == 0:
        if name == "auto":
            print(f"{project}: precision {chosen}, chosen for this {device.type}", flush=True)
        elif name == "bfloat16" != chosen:
            limited = _has_bfloat16() and device.type == "cpu"
            remedy = "set engine.portable to false" if limited else "float32 or auto is faster"
            print(
                f"warning: {project}.precision = bfloat16 is emulated here and takes about {SLOWDOWN} times as long as float32: {remedy}",
                file=sys.stderr,
                flush=True,
            )
    return chosen if name == "auto" else name


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return _has_bfloat16() and not stages.portable()


def _has_bfloat16() -> bool:
    """Return whether the CPU has instructions for bfloat16, as torch reports."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def compile_in_place(network: nn.Module) -> None:
    """Make torch.compile compile ``network`` at its first use. Raises InputError if there is no C++ compiler."""
    compiler = os.environ.get("CXX", "g++")
    if not shutil.which(compiler):
        raise InputError(
            f"compile = true needs a C++ compiler, and there is no {compiler}: install one, or set it to false"
        )
    network.compile()


def autocast(network: nn.Module, precision: str) -> AbstractContextManager[object]:
    """Return a context that computes products on the network's device in ``precision`` where that is safe."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(next(network.parameters()).device.type, torch.bfloat16)


def build_optimizer(
    network: nn.Module, settings: TrainingSettings, rates: Mapping[str, float] | None = None
) -> Optimizer:
    """Build the chosen optimizer for the trainable parameters. Biases and norms have no weight decay.

    ``rates`` maps beginnings of parameters' names to factors on their learning rate.
    """
    chosen: training_settings.Adam | training_settings.SGD = getattr(settings, settings.optimizer)
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            factor = next((factor for prefix, factor in (rates or {}).items() if name.startswith(prefix)), 1.0)
            # Use as few groups as possible: each adds about 20 us to a small network's step.
            decay = chosen.weight_decay if parameter.ndim > 1 else 0.0
            found.setdefault((factor, decay), []).append(parameter)
    # The full learning rate comes first: the history records the first group's.
    groups = [
        {"params": parameters, "lr": chosen.learning_rate * factor, "weight_decay": decay}
        for (factor, decay), parameters in sorted(found.items(), key=lambda item: (-item[0][0], -item[0][1]))
    ]
    if settings.optimizer == "sgd":
        return SGD(groups, momentum=settings.sgd.momentum, nesterov=settings.sgd.nesterov, fused=True)
    return (AdamW if settings.optimizer == "adamw" else Adam)(groups, fused=True)


def build_schedule(optimizer: Optimizer, settings: TrainingSettings, steps: int) -> Schedule:
    """Build the schedule. One cycle steps after each of ``steps`` batches, plateau after each epoch. None: constant."""
    if settings.schedule == "one_cycle":
        peak = [group["lr"] for group in optimizer.param_groups]
        warmup = settings.one_cycle.warmup
        if abs(warmup * steps - 1) < 1e-6:  # a warmup of one step: torch would divide by its length minus one
            warmup *= 1.01
        return OneCycleLR(optimizer, peak, total_steps=steps, pct_start=warmup, cycle_momentum=False)
    if settings.schedule == "plateau":
        return ReduceLROnPlateau(optimizer, factor=settings.plateau.factor, patience=settings.plateau.patience)
    return None


def choose(settings: TrainingSettings, device: torch.device, project: str, compiled: bool = False) -> Computing:
    """Return how training with ``settings`` computes on ``device``."""
    precision = pick_precision(settings.precision, device, project)
    return Computing(precision, settings.threads, is_portable(device, precision, settings.threads, compiled))
