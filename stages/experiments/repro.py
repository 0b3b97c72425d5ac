"""Run `dvc repro` with several projects at the same time. The results are the same as one after the other, sooner.

python -m stages.experiments.repro             as many at a time as cores and memory allow
python -m stages.experiments.repro --jobs 1    one after the other

Shows one line per project. The full output of a project's stages is in reports/logs/<project>.log.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from dvc.dvcfile import load_file
from dvc.repo import Repo

from stages.common import program
from stages.common.errors import InputError
from stages.common.program import run
from stages.experiments.running import progress
from stages.experiments.running.display import Display
from stages.experiments.running.exclusive import exclusive
from stages.experiments.running.progress import ProjectProgress
from stages.experiments.running.stopping import stop_on_signals

LOGS = Path("reports/logs")
LOCK = LOGS / "make-repro.lock"
DVC_LOCK = Path(".dvc/tmp/lock")

OUTPUT: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
"""Options of subprocess: both streams of a program as one text."""

DVC = [sys.executable, "-m", "stages.experiments.running.quick_dvc"]

MEMORY = 3.0
"""Peak GB of a project on its sample data, all its processes together."""

TAIL = 15
"""Last lines of a log to show if it has no line that starts with `error: `."""


def projects() -> list[ProjectProgress]:
    """Return all projects, the slowest first: it must not run alone at the end. Stages are in dvc.yaml's order."""
    found: dict[str, list[str]] = {}
    for stage in load_file(Repo(), "dvc.yaml").stages:
        _, at, project = stage.partition("@")
        if at:
            found.setdefault(project, []).append(stage)
    runs = [ProjectProgress(project, progress.durations(stages)) for project, stages in found.items()]
    return sorted(runs, key=lambda one: -sum(one.expected.values()))


class SideBySide:
    """Several `dvc repro` at the same time, each with its own log."""

    def __init__(self, display: Display, threads: int) -> None:
        self.display = display
        # OpenMP, MKL, OpenBLAS, Arrow and `program.workers` follow OMP_NUM_THREADS. Two programs whose threads share
        # cores wait for each other at every operation. tqdm's interval is in seconds.
        self.environment = {"OMP_NUM_THREADS": str(threads), "TQDM_MININTERVAL": "1", **os.environ}
        self.running: set[subprocess.Popen[str]] = set()
        self.stopped = threading.Event()

    def repro(self, run: ProjectProgress) -> bool:
        """Run all stages of one project. Returns True if none failed."""
        if self.stopped.is_set():
            return False
        run.start()
        # The processes take turns with DVC's lock, which is free while a stage runs. Each checks only its own project's
        # stages: two that both check the stage `check`, on which all depend, block each other.
        command = [*DVC, "--wait-for-lock", "repro", "--single-item", "--glob", f"*@{run.project}"]
        apart: dict[str, Any] = {"env": self.environment, "start_new_session": True}
        with (
            log(run.project).open("w", encoding="utf-8") as kept,
            subprocess.Popen(command, **OUTPUT, **apart) as process,
        ):
            self.running.add(process)
            assert process.stdout
            bar = ""
            for line in process.stdout:  # universal newlines: a progress bar's carriage return ends a line, too
                self.display.step(run.project, run.read(line))
                if progress.BAR.search(line):
                    bar = line  # the log gets only the last state of a bar
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
        """Stop all running processes and the stages that they started."""
        self.stopped.set()
        for process in list(self.running):
            os.killpg(process.pid, signal.SIGINT)


def log(project: str) -> Path:
    """Return the path of the log with the full output of the project's last run."""
    return LOGS / f"{project}.log"


def reasons(project: str) -> list[str]:
    """Return the error lines of a failed project's log, and the log's path."""
    lines = log(project).read_text(encoding="utf-8").splitlines()
    if any(line.startswith("error: ") for line in lines):
        lines = [line for line in lines if line.startswith(("error: ", "ERROR: "))]
    return [*lines[-TAIL:], f"full log: {log(project)}"]


def room() -> int:
    """Return how many projects this machine has cores and memory for."""
    return max(1, min(program.cores(), int(psutil.virtual_memory().available / 1e9 / MEMORY)))


def main(jobs: int | None) -> None:
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs {jobs} is not allowed: expected 1 or more")
    stop_on_signals()
    with exclusive(LOCK, "make repro"):
        reproduce(jobs)


def reproduce(jobs: int | None) -> None:
    """Run the stages that changed. Raises InputError if one fails."""
    with ThreadPoolExecutor(1) as pool:  # at the same time: each takes a second
        known = pool.submit(projects)
        checked = subprocess.run([*DVC, "repro", "check"], **OUTPUT, check=False)
    if checked.returncode:
        said = checked.stdout.strip()
        if "Unable to acquire lock" in said:
            said += f"\nerror: process {DVC_LOCK.read_text().strip()} has DVC's lock: wait for it, or stop it there"
        sys.exit(said or f"error: `dvc repro check` ended with exit code {checked.returncode}: run it to see why")
    runs = known.result()
    jobs = min(jobs or room(), len(runs))
    print(f"{len(runs)} projects, {jobs} at a time. Logs: {log('<project>')}", flush=True)
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
        raise InputError(f"{', '.join(failed)} failed, see above: fix the error, then run the same command to resume")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, help="projects at a time (default: as cores and memory allow)")


if __name__ == "__main__":
    run(main, arguments)
