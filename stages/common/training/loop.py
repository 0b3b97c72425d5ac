"""Train a network: the loop, checkpoints, the history, the weights that are kept.

A project passes `fit` a network, a function that yields an epoch's batches, and one that scores the network on the
validation split. The seed and the epoch's number determine all randomness in an epoch. So a run that is killed and
resumed from its checkpoint gives the same bytes as one that never stopped. Several processes can share each batch
(`distributed`); the first one writes the checkpoints.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from stages.common.errors import InputError
from stages.common.training import checkpoints, distributed, live
from stages.common.training.torch_setup import Schedule, autocast, build_optimizer, build_schedule
from stages.common.training_settings import TrainingSettings

Row = dict[str, float]
Weights = dict[str, Tensor]
Epoch = Iterator[tuple[Tensor, Tensor]]
"""The batches of one epoch: network inputs and int64 labels, on the network's device."""
Batches = Callable[[torch.Generator], Epoch]
"""Function that starts an epoch. The generator determines its order and all other randomness."""


@dataclass(frozen=True)
class Scores:
    """Mean cross-entropy in nats, and accuracy in [0, 1]."""

    loss: float
    accuracy: float


def scores(logits: Tensor, labels: Tensor) -> Scores:
    """Return the scores of ``logits`` (N, classes) for ``labels`` (N), on one device."""
    right = (logits.argmax(1) == labels).double().mean().item()
    return Scores(F.cross_entropy(logits, labels).item(), right)


@dataclass
class Trained:
    """The results of a run so far. `fit` returns it when training ends."""

    weights: Weights = field(default_factory=dict)
    """The state_dict that is kept, on the CPU."""
    best_epoch: int = 0
    """The last epoch whose validation loss was the best so far. If `keep` is `best`, its weights are kept."""
    best_loss: float = float("inf")
    steps: list[Row] = field(default_factory=list)
    """Every `log_every` steps: step, epoch, mean training loss since the last row, learning_rate of the last step."""
    epochs: list[Row] = field(default_factory=list)
    """epoch, train_loss, train_accuracy (as trained: with dropout and augmentation), valid_*, learning_rate."""
    seconds: float = 0.0


def steps_per_epoch(images: int, batch_size: int, project: str) -> int:
    """Return the number of full batches in an epoch. Raises InputError if it is 0."""
    if images < batch_size:
        raise InputError(
            f"{project}.batch_size = {batch_size} is not allowed: expected at most the {images} training images"
        )
    return images // batch_size


def shuffled(
    inputs: Tensor,
    labels: Tensor,
    batch_size: int,
    transform: Callable[[Tensor, torch.Generator], Tensor],
    generator: torch.Generator,
    batches_at_once: int = 8,
    order: Callable[[torch.Generator], Tensor] | None = None,
) -> Epoch:
    """Yield one epoch over tensors, in a new order and in full batches. Images left over are not used in this epoch.

    Each process gets its part of each batch. ``transform`` turns the inputs of ``batches_at_once`` batches together
    into network inputs, on the network's device. A small network's step takes less than a millisecond, so preparing
    each batch separately would slow it. The batches prepared together should fit into the processor's cache.
    ``transform`` draws random numbers for all processes and uses this process's part (`distributed.whole`,
    `distributed.share`). ``order``, if given, draws the order.
    """
    drawn = order(generator) if order else torch.randperm(len(inputs), generator=generator)
    drawn = drawn[: len(inputs) // batch_size * batch_size].to(inputs.device)
    own = batch_size // distributed.size()
    for batches in drawn.split(batch_size * batches_at_once):
        chosen = distributed.share(batches)
        # index_select copies whole rows; indexing would copy element by element.
        ready = transform(inputs.index_select(0, chosen), generator)
        truths = labels.index_select(0, chosen).to(ready.device)
        yield from zip(ready.split(own), truths.split(own), strict=True)


@dataclass
class _Run:
    """The state of training, which a checkpoint stores."""

    network: nn.Module
    learner: nn.Module
    """The network, or its wrapper that makes all processes learn the same."""
    optimizer: Optimizer
    schedule: Schedule
    average: Weights
    """The moving average of the floating-point values of the network's state_dict. Empty without `ema_decay`."""
    trained: Trained


def fit(
    network: nn.Module,
    batches: Batches,
    steps: int,
    score: Callable[[nn.Module], Scores],
    settings: TrainingSettings,
    checkpoint: checkpoints.Location,
    title: str,
    rates: Mapping[str, float] | None = None,
) -> Trained:
    """Train ``network`` on its device for `settings.epochs` epochs of ``steps`` batches. Return weights and history.

    ``rates`` maps beginnings of parameters' names to factors on their learning rate. Training ends early after
    `settings.patience` epochs without a better validation loss. It resumes from ``checkpoint`` if that exists, and
    writes it after each epoch; the caller deletes it once the result is saved. ``score`` gets the network in eval mode.
    With `settings.live`, the first process also writes each epoch's scores to `live.FOLDER`. With 0 epochs, the history
    has one row with the scores of the network as it is. Raises InputError if the loss is not finite.
    """
    if not settings.epochs:
        return _measured(network, batches(torch.Generator().manual_seed(settings.seed)), score)
    optimizer = build_optimizer(network, settings, rates)
    average = {
        name: value for name, value in _copied(network).items() if settings.ema_decay and value.is_floating_point()
    }
    schedule = build_schedule(optimizer, settings, settings.epochs * steps)
    run = _Run(network, distributed.wrapped(network), optimizer, schedule, average, Trained())
    if state := checkpoints.read(checkpoint):
        _resume(run, state)
    trained, done = run.trained, len(run.trained.epochs)
    if done and distributed.rank() == 0:
        print(f"{title}: resumed after epoch {done} of {settings.epochs}", flush=True)
    images = steps * settings.batch_size
    with (
        live.curves(title.split()[0], settings.live and distributed.rank() == 0) as log,
        tqdm(
            desc=title,
            total=settings.epochs * images,
            initial=done * images,
            unit=" images",
            unit_scale=True,
            disable=distributed.rank() > 0,
        ) as bar,
    ):
        for row in trained.epochs:
            log(row)
        for epoch in range(done + 1, settings.epochs + 1):
            if settings.patience and epoch - 1 - trained.best_epoch >= settings.patience:
                break
            began = time.perf_counter()
            seed = settings.seed + 1_000_003 * epoch
            torch.manual_seed(seed)  # for dropout
            training = _train_epoch(run, settings, batches(torch.Generator().manual_seed(seed)), steps, bar)
            own = _copied(network) if run.average else {}
            network.load_state_dict(run.average, strict=False)  # it is scored and kept, if there is one
            with torch.no_grad():
                validation = score(network.eval())
            weights = {name: value.cpu() for name, value in _copied(network).items()}
            network.load_state_dict(own, strict=False)
            trained.epochs.append(_row(epoch, training, validation, trained.steps[-1]["learning_rate"]))
            log(trained.epochs[-1])
            if isinstance(run.schedule, ReduceLROnPlateau):
                run.schedule.step(validation.loss)
            improved = epoch == 1 or validation.loss < trained.best_loss * (1 - settings.min_improvement)
            if improved:
                trained.best_epoch, trained.best_loss = epoch, validation.loss
            if settings.keep == "last" or improved:
                trained.weights = weights
            trained.seconds += time.perf_counter() - began
            if distributed.rank() == 0:
                checkpoints.write(checkpoint, _state(run))
    return trained


@torch.no_grad()
def _measured(network: nn.Module, batches: Epoch, score: Callable[[nn.Module], Scores]) -> Trained:
    """Return the weights and scores of a network that is not trained, on ``batches`` and on the validation split."""
    began, network = time.perf_counter(), network.eval()
    found = [scores(network(inputs).float(), labels) for inputs, labels in batches]
    device = next(network.parameters()).device
    means = torch.tensor([[one.loss, one.accuracy] for one in found], device=device).mean(0) / distributed.size()
    training, validation = Scores(*distributed.total(means).tolist()), score(network)
    if not math.isfinite(training.loss + validation.loss):
        raise InputError(
            f"the weights give a loss of {training.loss}: expected weights that were trained on such images"
        )
    row = _row(0, training, validation, 0.0)
    point: Row = {"step": 0, "epoch": 0, "loss": training.loss, "learning_rate": 0.0}
    weights = {name: value.cpu() for name, value in _copied(network).items()}
    return Trained(weights, 0, validation.loss, [point], [row], time.perf_counter() - began)


def _row(epoch: int, training: Scores, validation: Scores, rate: float) -> Row:
    parts = {"train": training, "valid": validation}
    named = {f"{part}_{name}": value for part, found in parts.items() for name, value in vars(found).items()}
    return {"epoch": epoch, **named, "learning_rate": rate}


def _train_epoch(run: _Run, settings: TrainingSettings, batches: Epoch, steps: int, bar: tqdm) -> Scores:
    """Train on ``batches``, add rows to the loss curve, and return the epoch's mean scores."""
    learner, optimizer = run.learner.train(), run.optimizer
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    cycle = run.schedule if isinstance(run.schedule, OneCycleLR) else None
    epoch = len(run.trained.epochs) + 1
    # Kept as tensors until the next row: reading a number at each step would wait for the device.
    losses: list[Tensor] = []
    answers: list[Tensor] = []
    truths: list[Tensor] = []
    loss_sum, right, seen = 0.0, 0, 0
    for step, (inputs, labels) in enumerate(batches, 1):
        with autocast(learner, settings.precision):
            logits = learner(inputs)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=settings.label_smoothing)
        for parameter in parameters:  # like zero_grad, in a tenth of its time
            parameter.grad = None
        loss.backward()
        rate = optimizer.param_groups[0]["lr"]
        optimizer.step()
        if cycle:
            cycle.step()
        done = (epoch - 1) * steps + step
        if run.average:  # early moves towards the weights are larger, to forget its start
            weights, move = run.network.state_dict(), get_ema_multi_avg_fn(min(settings.ema_decay, done / (done + 10)))
            move(list(run.average.values()), [weights[name] for name in run.average], None)
        losses.append(loss.detach())
        answers.append(logits.detach())
        truths.append(labels)
        bar.update(distributed.whole(len(labels)))
        if step % settings.log_every and step != steps:
            continue
        mean = distributed.total(torch.stack(losses).double().mean()).item() / distributed.size()
        if not math.isfinite(mean):
            raise InputError(
                f"training diverged at epoch {epoch}, step {step}: found a loss of {mean} with {settings.optimizer} "
                f"at learning rate {rate:.2g}, expected a finite one: lower {settings.optimizer}.learning_rate"
            )
        truth = torch.cat(truths)
        loss_sum += mean * len(losses)
        right += int(distributed.total((torch.cat(answers).argmax(1) == truth).sum()))
        seen += distributed.whole(len(truth))
        run.trained.steps.append({"step": done, "epoch": epoch, "loss": mean, "learning_rate": rate})
        bar.set_postfix(loss=f"{mean:.4f}", accuracy=f"{right / seen:.4f}", lr=f"{rate:.2g}", refresh=False)
        losses, answers, truths = [], [], []
    return Scores(loss_sum / steps, right / seen)


def _copied(network: nn.Module) -> Weights:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _state(run: _Run) -> dict[str, Any]:
    return {
        "network": run.network.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "schedule": run.schedule.state_dict() if run.schedule else {},
        "average": run.average,
        "trained": vars(run.trained),
    }


def _resume(run: _Run, state: dict[str, Any]) -> None:
    run.network.load_state_dict(state["network"])
    run.optimizer.load_state_dict(state["optimizer"])
    if run.schedule:
        run.schedule.load_state_dict(state["schedule"])
    for name, value in run.average.items():
        value.copy_(state["average"][name])
    run.trained = Trained(**state["trained"])
