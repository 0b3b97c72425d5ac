"""`dvc repro` with independent projects side by side: the same results as one after the other, sooner.

python -m stages.experiments.repro             as many at a time as cores and memory allow
python -m stages.experiments.repro --jobs 1    one after the other

Shows a line for each project; all that a project's stages print is in reports/logs/<project>.log.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from dvc.dvcfile import load_file
from dvc.repo import Repo

from stages.common import program
from stages.common.program import InputError, run
from stages.experiments.running import progress
from stages.experiments.running.display import Display
from stages.experiments.running.progress import Progress

LOGS = Path("reports/logs")

DVC = [sys.executable, "-m", "stages.experiments.running.quick_dvc"]

MEMORY = 3.0
"""GB that a project takes at most on its sample data, all its processes together."""

TAIL = 15
"""Lines of a log that are shown if none of them says in a line what is wrong."""


def projects() -> list[Progress]:
    """All projects with their stages in dvc.yaml's order. The one that takes longest comes first, so that none is left over."""
    found: dict[str, list[str]] = {}
    for stage in load_file(Repo(), "dvc.yaml").stages:
        _, at, project = stage.partition("@")
        if at:
            found.setdefault(project, []).append(stage)
    runs = [Progress(project, progress.durations(stages)) for project, stages in found.items()]
    return sorted(runs, key=lambda one: -sum(one.expected.values()))


class SideBySide:
    """Several `dvc repro`, each with a log of its own."""

    def __init__(self, display: Display, threads: int) -> None:
        self.display = display
        # The libraries for numbers (OpenMP, MKL, OpenBLAS, Arrow) and `program.workers` heed it. Two programs whose threads
        # share cores wait for each other at every operation. tqdm's interval is in seconds.
        self.environment = {"OMP_NUM_THREADS": str(threads), "TQDM_MININTERVAL": "1", **os.environ}
        self.running: set[subprocess.Popen[str]] = set()
        self.stopped = threading.Event()

    def repro(self, run: Progress) -> bool:
        """True if all went well."""
        if self.stopped.is_set():
            return False
        run.start()
        # They take turns at DVC's lock, which is free while a stage runs. Each looks at its own cells alone: two that
        # look at the guard, which all depend on, are in each other's way.
        command = [*DVC, "--wait-for-lock", "repro", "--single-item", "--glob", f"*@{run.project}"]
        with (
            log(run.project).open("w", encoding="utf-8") as kept,
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=self.environment,
                start_new_session=True,
            ) as process,
        ):
            self.running.add(process)
            assert process.stdout
            bar = ""
            for line in process.stdout:  # universal newlines: a progress bar's returns end a line, too
                self.display.step(run.project, run.read(line))
                if progress.BAR.search(line):
                    bar = line  # of a bar's states the log has the last one
                elif line.strip():
                    kept.write(bar + line)
                    kept.flush()
                    bar = ""
            kept.write(bar)
        self.running.discard(process)
        if self.stopped.is_set():
            return False
        failed = process.returncode != 0
        self.display.step(run.project, run.end(failed))
        if failed:
            self.display.say(run.project, "\n".join(reasons(run.project)))
        return not failed

    def stop(self) -> None:
        """End all that run, with the stages that they started."""
        self.stopped.set()
        for process in list(self.running):
            os.killpg(process.pid, signal.SIGINT)


def log(project: str) -> Path:
    """All that the project's last run printed."""
    return LOGS / f"{project}.log"


def reasons(project: str) -> list[str]:
    """What a failed project's log says is wrong, and where the log is."""
    lines = log(project).read_text(encoding="utf-8").splitlines()
    if any(line.startswith("error: ") for line in lines):
        lines = [line for line in lines if line.startswith(("error: ", "ERROR: "))]
    return [*lines[-TAIL:], f"all of it: {log(project)}"]


def room() -> int:
    """How many projects this machine has cores and memory for."""
    return max(1, min(program.cores(), int(psutil.virtual_memory().available / 1e9 / MEMORY)))


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main(jobs: int | None) -> None:
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs {jobs} is not allowed: expected 1 or more")
    # SIGINT, too: what a shell starts in the background ignores it, and so would all that is started and has to end by it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    with ThreadPoolExecutor(1) as pool:  # side by side: each takes a second
        known = pool.submit(projects)
        checked = subprocess.run(
            [*DVC, "repro", "check"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
    if checked.returncode:
        sys.exit(checked.stdout.decode(errors="replace").strip())
    runs = known.result()
    jobs = min(jobs or room(), len(runs))
    LOGS.mkdir(parents=True, exist_ok=True)
    print(f"{len(runs)} projects, {jobs} at a time; the log of each is {log('<project>')}", flush=True)
    with Display(runs) as display:
        side_by_side = SideBySide(display, max(1, program.cores() // jobs))
        with ThreadPoolExecutor(jobs) as pool:
            results = {run.project: pool.submit(side_by_side.repro, run) for run in runs}
            try:
                failed = [project for project, result in results.items() if not result.result()]
            except KeyboardInterrupt:
                side_by_side.stop()
                raise
    if failed:
        raise InputError(f"{', '.join(failed)} failed, see above: once fixed, the same command goes on from there")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, help="projects at a time (default: as cores and memory allow)")


if __name__ == "__main__":
    run(main, arguments)
