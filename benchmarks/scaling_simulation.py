"""The runs of `scaling_model`, played event by event: shards and steps that take now longer, now shorter, nodes that go, a search that
stops trials as they come."""

import heapq
import math

import numpy as np

from benchmarks.scaling_model import HOUR, Rate, Training, rungs


def durations(random: np.random.Generator, mean: float, spread: float, size: int | tuple[int, int]) -> np.ndarray:
    """Lognormal, with this mean and this standard deviation by it."""
    sigma = math.sqrt(math.log(1 + spread**2))
    return np.asarray(random.lognormal(math.log(mean) - sigma**2 / 2, sigma, size))


def run_seconds(images: int, rate: Rate, workers: int, shard: int, spread: float, seed: int) -> float:
    """Shards of ``shard`` images, each taken by the first worker that is free."""
    random = np.random.default_rng(seed)
    whole, rest = divmod(images, shard)
    sizes = [shard] * whole + [rest] * (rest > 0)
    free = [rate.start] * workers
    for size, factor in zip(sizes, durations(random, 1.0, spread, len(sizes)), strict=True):
        heapq.heappush(free, heapq.heappop(free) + size * workers / rate.of(workers) * factor)
    return max(free)


STEPS = 256
"""Drawn for each epoch, and taken for all of its steps."""


def training_seconds(training: Training, workers: int, spread: float, spot: bool, seed: int) -> float:
    """A step waits for the slowest node; when a node goes, all begin the epoch again."""
    random = np.random.default_rng(seed)
    steps, reduced = training.steps(workers), training.step_seconds(workers) - training.batch / training.rate
    hazard = training.interruptions / HOUR * workers if spot else 0.0
    now, done = training.start, 0
    interruption = random.exponential(1 / hazard) if hazard else math.inf
    while done < training.epochs:
        slowest = durations(random, training.batch / training.rate, spread, (min(steps, STEPS), workers)).max(axis=1)
        end = now + steps * (slowest.mean() + reduced) + training.checkpoint
        if interruption < end:
            now = interruption + training.restart
            interruption = now + random.exponential(1 / hazard)
        else:
            now, done = end, done + 1
    return now


def searched(trials: int, first: int, last: int, factor: int, slots: int, seed: int) -> tuple[float, float]:
    """ASHA as Ray Tune has it: epochs of all trials, and epochs that pass until the last one ends, with ``slots`` at a time.

    A trial that reaches a rung goes on if it is among the best 1 / ``factor`` of those that have been there so far.
    """
    random = np.random.default_rng(seed)
    looked = rungs(first, last, factor)
    seen: list[list[float]] = [[] for _ in looked]
    waiting = list(random.random(trials))
    running: list[tuple[float, int, float]] = []  # when it reaches a rung, which one, how good it is
    total = now = 0.0

    def go_on(begin: float, rung: int, quality: float) -> None:
        nonlocal total
        more = looked[rung] - (looked[rung - 1] if rung else 0)
        total += more
        heapq.heappush(running, (begin + more, rung, quality))

    for _ in range(min(slots, trials)):
        go_on(0.0, 0, waiting.pop())
    while running:
        now, rung, quality = heapq.heappop(running)
        seen[rung].append(quality)
        if rung + 1 < len(looked) and quality >= np.quantile(seen[rung], 1 - 1 / factor):
            go_on(now, rung + 1, quality)
        elif waiting:
            go_on(now, 0, waiting.pop())
    return total, now
