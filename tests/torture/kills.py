"""Kill stages of every project with SIGKILL at random moments, run them again, and compare.

A kill holds if the stage's second run succeeds, every output has the bytes that it had before, and nothing is left: no
file in the checkout or in $TMPDIR, no process. The same seed kills the same stages at the same fractions of their
durations.
"""

import random
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from checkouts import Checkout, processes_in

from stages import projects
from stages.experiments.running import progress

VERBS = ("prepare", "featurize", "train", "evaluate", "plot", "export", "deploy")

REPEATED = (".git", ".dvc", "__pycache__", "durations", "clocks", "captured")
"""Folders whose files differ from run to run. Captured requests are named after the time."""

KEPT = ("torchinductor_",)
"""Prefixes of folders in $TMPDIR that a library keeps for later runs."""

FOR_LATER = ("models/checkpoints/landmarks/*.npy", "models/checkpoints/mnist/*.second*")
"""What a training keeps for later ones: features of a frozen backbone, mnist's second network."""


@dataclass(frozen=True)
class Kill:
    """A kill to try: a stage, the moment as a fraction of its duration, and what is killed."""

    stage: str
    moment: float
    whole: bool
    """Kill DVC and all that it started; otherwise only the stage's process."""

    def __str__(self) -> str:
        return f"{self.stage} at {self.moment:.0%}, {'the whole tree' if self.whole else 'the stage alone'}"


def plan(seed: int, count: int) -> list[Kill]:
    """Return ``count`` kills that take turns with the projects, and in each project with the steps.

    The first two of a project are prepare and featurize, which other stages depend on; the others are in random order.
    """
    generator, names = random.Random(seed), projects.names()
    steps = {name: [*generator.sample(VERBS[:2], 2), *generator.sample(VERBS[2:], 5)] for name in names}
    kills = []
    for number in range(count):
        project = names[number % len(names)]
        verb = steps[project][number // len(names) % len(VERBS)]
        kills.append(Kill(f"{verb}@{project}", generator.uniform(0.05, 0.95), generator.random() < 0.5))
    return kills


class Place(Checkout):
    """A clone with results and a $TMPDIR of its own."""

    def __init__(self, root: Path, temporary: Path) -> None:
        super().__init__(root, {"TMPDIR": str(temporary)})
        self.temporary = temporary

    def files(self) -> set[str]:
        """Return the files of the clone and of $TMPDIR, without those that differ from run to run."""
        own = {path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file()}
        temporary = {path.name for path in self.temporary.iterdir() if not path.name.startswith(KEPT)}
        return {
            str(path) for path in own if not set(REPEATED) & set(path.parts) and not any(map(path.match, FOR_LATER))
        } | temporary

    def processes(self) -> list[psutil.Process]:
        """Return what still runs in the clone or in $TMPDIR, after at most 15 seconds."""
        for _ in range(150):
            left = processes_in(self.root) + processes_in(self.temporary)
            if not left:
                break
            time.sleep(0.1)
        return left

    def killed(self, kill: Kill) -> bool:
        """Run the stage and kill it. Returns False if it ended before."""
        command = self.command("dvc", "repro", "--force", "--single-item", kill.stage)
        seconds = kill.moment * progress.durations([kill.stage])[kill.stage]
        with subprocess.Popen(**command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            assert process.stdout
            for line in process.stdout:
                if line.startswith("Running stage"):
                    break
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                dvc = psutil.Process(process.pid)
                below = dvc.children(recursive=True)
                stages = [one for one in below if f"stages.{kill.stage.partition('@')[2]}" in " ".join(one.cmdline())]
                for one in [dvc, *below] if kill.whole else stages[:1]:
                    one.kill()
                if not stages:  # DVC is saving what the stage wrote
                    process.kill()
                process.stdout.read()  # until all that has it open is gone
                return True
        return False


def lost(place: Place, kill: Kill) -> str:
    """Try a kill, earlier if the stage ended before it. Returns what was lost: empty if nothing."""
    place.dvc("repro", "--quiet", kill.stage)
    hashes, files = place.hashes(), place.files()
    while not place.killed(kill):
        kill = replace(kill, moment=kill.moment / 2)
    if processes := place.processes():
        return f"{processes[0].cmdline()} still runs"
    again = place.tried("dvc", "repro", "--force", "--single-item", kill.stage)
    if again.returncode:
        return f"the second run failed: {(again.stdout + again.stderr).strip().splitlines()[-1]}"
    if changed := sorted(path for path, md5 in place.hashes().items() if hashes.get(path) != md5):
        return f"{', '.join(changed)} differ"
    if different := sorted(files ^ place.files()):
        return f"{', '.join(different[:3])}: {'left' if different[0] in place.files() else 'gone'}"
    return ""


def run(place: Place, seed: int, count: int, minutes: float, project: str | None) -> Counter[str]:
    """Try ``count`` kills, but start none after ``minutes``. Returns the outcomes by kind."""
    end = time.monotonic() + 60 * minutes
    outcomes: Counter[str] = Counter()
    wanted = [kill for kill in plan(seed, count) if project in (None, kill.stage.partition("@")[2])]
    for kill in wanted:
        if time.monotonic() > end:
            outcomes[f"not tried, for lack of time: {kill}"] += 1
            continue
        found = lost(place, kill)
        outcomes[f"lost: {kill}: {found}" if found else f"held: {kill.stage}"] += 1
        print(f"{kill}: {found or 'held'}", flush=True)
    return outcomes
