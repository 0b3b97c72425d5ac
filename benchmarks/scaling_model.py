"""Time and cost of large runs from measured rates: the formulas of docs/cost.md. Times in seconds, sizes in bytes, money in USD."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

HOUR = 3600.0


@dataclass(frozen=True)
class Row:
    """A measured run: so many ``images`` gone through by ``workers`` of one core each; ``start_seconds`` of the ``seconds`` are no work."""

    images: int
    workers: int
    seconds: float
    start_seconds: float


@dataclass(frozen=True)
class Rate:
    """What was measured of a kind of run at small sizes."""

    images_per_second: float  # of one worker
    efficiency: float  # share of that rate which each of two workers reaches
    start: float

    def of(self, workers: int) -> float:
        """Images a second of all ``workers``. What they take from each other is taken for the same beyond two."""
        return self.images_per_second * workers * (self.efficiency if workers > 1 else 1.0)


def calibrated(rows: Sequence[Row]) -> tuple[Rate, list[Row]]:
    """The rate by the smallest runs of one and of two workers, and those rows."""
    one, two = (min((row for row in rows if row.workers == count), key=lambda row: row.images) for count in (1, 2))
    first, second = (row.images / (row.seconds - row.start_seconds) for row in (one, two))
    return Rate(first, second / (2 * first), (one.start_seconds + two.start_seconds) / 2), [one, two]


def run_seconds(images: int, rate: Rate, workers: int) -> float:
    """start + images / (rate x workers x efficiency)"""
    return rate.start + images / rate.of(workers)


def shard_bytes(width: int, height: int) -> int:
    """Of one image in a tar of shards: its pixels as .npy and its label, each behind a header, in blocks of 512."""
    return 512 + math.ceil((128 + 3 * width * height) / 512) * 512 + 1024


def all_reduce_seconds(workers: int, gradients: int, bandwidth: float, latency: float) -> float:
    """2 (W - 1) / W x bytes / bandwidth + 2 (W - 1) x latency: a ring, once a step; ``bandwidth`` in bytes a second."""
    return 2 * (workers - 1) / workers * gradients / bandwidth + 2 * (workers - 1) * latency


@dataclass(frozen=True)
class Training:
    """A training on nodes that share batches: each goes through ``batch`` images a step, at ``rate`` images a second."""

    images: int
    epochs: int
    batch: int
    rate: float
    gradients: int
    bandwidth: float
    latency: float
    checkpoint: float
    restart: float
    interruptions: float  # an hour and node
    start: float

    def steps(self, workers: int) -> int:
        """Of an epoch."""
        return math.ceil(self.images / (self.batch * workers))

    def step_seconds(self, workers: int) -> float:
        return self.batch / self.rate + all_reduce_seconds(workers, self.gradients, self.bandwidth, self.latency)

    def epoch_seconds(self, workers: int) -> float:
        """steps x (batch / rate + all-reduce) + checkpoint"""
        return self.steps(workers) * self.step_seconds(workers) + self.checkpoint

    def seconds(self, workers: int, spot: bool = False) -> float:
        """start + epochs x epoch; on spot nodes epoch / (1 - lost), where half an epoch and a restart are lost each time.

        ``lost`` is interruptions x nodes x (epoch / 2 + restart), a share of all time. Infinite where it is 1 or more.
        """
        epoch = self.epoch_seconds(workers)
        lost = self.interruptions / HOUR * workers * (epoch / 2 + self.restart) if spot else 0.0
        return self.start + self.epochs * epoch / (1 - lost) if lost < 1 else math.inf


def rungs(first: int, last: int, factor: int) -> list[int]:
    """Epochs after which a search looks: ``first``, and each the ``factor`` of the one before it, up to ``last``."""
    return [first * factor**power for power in range(round(math.log(last / first, factor)) + 1)]


def searched_epochs(trials: int, first: int, last: int, factor: int) -> float:
    """Of all trials: the sum over the rungs of trials / factor^rung x the epochs since the rung before."""
    looked = rungs(first, last, factor)
    return math.fsum(
        trials / factor**number * (epochs - before)
        for number, (before, epochs) in enumerate(zip([0, *looked], looked, strict=False))
    )


def cost(seconds: float, nodes: int, hourly: float) -> float:
    return seconds / HOUR * nodes * hourly


@dataclass(frozen=True)
class Storage:
    """Prices of S3: a GB (10^9 bytes) and month, 1,000 PUTs, 1,000 GETs."""

    gb_month: float
    put_1000: float
    get_1000: float

    def cost(self, size: float, objects: int, months: float, passes: int) -> float:
        """Written once, kept, and read ``passes`` times; within a region the transfer is free."""
        return (
            size / 1e9 * self.gb_month * months
            + objects / 1000 * self.put_1000
            + objects * passes / 1000 * self.get_1000
        )
