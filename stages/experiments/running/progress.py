"""Track a project's run from the output of DVC and its stages: current stage, fraction done, time left."""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from stages.common import files, program

TYPICAL = Path(__file__).with_name("durations.json")
"""Seconds of each stage on the samples, for a first run. Written by `python -m benchmarks.side_by_side`."""

UNKNOWN = 10.0
"""Seconds assumed for a stage without a known duration."""

STARTED = re.compile(r"Running stage '(.+)':")
SKIPPED = re.compile(r"Stage '(.+)' (didn't change|is cached)")
BAR = re.compile(r"(\d+)%\|.*\[\S+<(?:\?|(?:(\d+):)?(\d+):(\d+)),")
"""A progress bar of tqdm: percent, and the time left as hours, minutes, seconds. At first the time is unknown."""


def durations(stages: Iterable[str]) -> dict[str, float]:
    """Return the seconds of each stage: those of its last run here, or else typical ones."""
    typical = files.read_json(TYPICAL)
    found = {}
    for stage in stages:
        last = program.DURATIONS / f"{stage}.json"
        found[stage] = files.read_json(last)["seconds"] if last.exists() else typical.get(stage, UNKNOWN)
    return found


@dataclass
class ProjectProgress:
    """A project's progress through its stages. Times are from `time.monotonic`."""

    project: str
    expected: dict[str, float]
    """Expected seconds of each stage, in running order."""
    began: float | None = None
    ended: float | None = None
    failed: bool = False
    ran: dict[str, float] = field(default_factory=dict)
    """Seconds of each stage that has run."""
    stage: str | None = None
    """The running stage."""
    _stage_began: float = 0.0
    _pending: list[str] = field(default_factory=list)
    _bar: tuple[float, float] | None = None
    """The time when the stage's progress bar was last seen, and the seconds left that it showed."""

    def __post_init__(self) -> None:
        self._pending = list(self.expected)

    def start(self) -> None:
        self.began = time.monotonic()

    def read(self, line: str) -> str | None:
        """Update the progress from a printed ``line``. Returns text to show if the line begins or ends a stage."""
        if bar := BAR.search(line):
            percent, hours, minutes, seconds = bar.groups()
            known = seconds is not None and percent != "100"  # a stage may continue after its bar is full
            left = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
            self._bar = (time.monotonic(), left) if known else None
        elif skipped := SKIPPED.match(line):
            self._leave(skipped[1])
        elif started := STARTED.match(line):
            lines = self._finish()
            self._leave(started[1])
            self.stage, self._stage_began = started[1], time.monotonic()
            position = len(self.expected) - len(self._pending)
            return "\n".join([*lines, f"{self.verb}: started ({position} of {len(self.expected)})"])
        return None

    def end(self, failed: bool) -> str:
        """Mark the run as ended. Returns text to show."""
        lines = [] if failed else self._finish()
        self.ended, self.failed = time.monotonic(), failed
        return "\n".join([*lines, self.outcome()])

    @property
    def verb(self) -> str:
        """The part of the stage's name before the project: `train` of `train@mnist`."""
        return (self.stage or "").partition("@")[0]

    def outcome(self) -> str:
        """Return how the run ended: stages and seconds."""
        if self.failed:
            return f"failed at {self.verb}" if self.stage else "failed"
        if not self.ran:
            return "up to date"
        stages = "1 stage" if len(self.ran) == 1 else f"{len(self.ran)} stages"
        return f"done: {stages} run in {(self.ended or 0) - (self.began or 0):.0f} s"

    def left(self) -> float:
        """Estimate the seconds left. The expected times of pending stages are scaled by how long finished ones took."""
        # Copies, because another thread updates them.
        ran, pending, stage, bar = dict(self.ran), list(self._pending), self.stage, self._bar
        pace = (sum(ran.values()) + UNKNOWN) / (sum(self.expected[one] for one in ran) + UNKNOWN)
        seconds = pace * sum(self.expected[one] for one in pending)
        if stage:
            now = time.monotonic()
            own = bar[1] - (now - bar[0]) if bar else pace * self.expected[stage] - (now - self._stage_began)
            seconds += max(0.0, own)
        return seconds

    def share(self) -> float:
        """Estimate the fraction of the run's time that has passed, in [0, 1]."""
        if self.began is None:
            return 0.0
        spent = time.monotonic() - self.began
        return spent / (spent + self.left())

    def _leave(self, stage: str) -> None:
        if stage in self._pending:
            self._pending.remove(stage)
        self._bar = None

    def _finish(self) -> list[str]:
        if self.stage is None:
            return []
        seconds = time.monotonic() - self._stage_began
        line = f"{self.verb}: done in {seconds:.0f} s"
        self.ran[self.stage], self.stage = seconds, None
        return [line]
