"""`dvc repro` with independent projects side by side: the same results as one after the other, sooner.

python -m stages.experiments.repro             as many at a time as cores and memory allow
python -m stages.experiments.repro --jobs 1    one after the other
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import psutil
from dvc.repo import Repo

from stages.common.program import InputError, run

MEMORY = 3.0
"""GB that a project takes at most on its sample data, all its processes together."""


def cells() -> dict[str, list[str]]:
    """The stages of each project, in dvc.yaml's order."""
    found: dict[str, list[str]] = {}
    for stage in Repo().index.stages:
        _, at, project = stage.addressing.partition("@")
        if at:
            found.setdefault(project, []).append(stage.addressing)
    return found


class SideBySide:
    """Several `dvc repro`, each line of theirs after the project's name."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.running: set[subprocess.Popen[str]] = set()
        self.stopped = threading.Event()

    def repro(self, project: str, stages: list[str]) -> bool:
        """True if all went well."""
        if self.stopped.is_set():
            return False
        # They take turns at DVC's lock, which is free while a stage runs. Each looks at its own cells alone: two that
        # look at the guard, which all depend on, are in each other's way.
        command = ["dvc", "--wait-for-lock", "repro", "--single-item", *stages]
        environment = {"TQDM_MININTERVAL": "10", **os.environ}  # a line each time, as they have no terminal
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            start_new_session=True,
        ) as process:
            self.running.add(process)
            assert process.stdout
            for line in process.stdout:  # universal newlines: a progress bar's returns end a line, too
                if line.strip():
                    print(f"{project:{self.width}} | {line.rstrip()}", flush=True)
        self.running.discard(process)
        return process.returncode == 0

    def stop(self) -> None:
        """End all that run, with the stages that they started."""
        self.stopped.set()
        for process in list(self.running):
            os.killpg(process.pid, signal.SIGINT)


def room() -> int:
    """How many projects this machine has cores and memory for."""
    return max(1, min(os.cpu_count() or 1, int(psutil.virtual_memory().available / 1e9 / MEMORY)))


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main(jobs: int | None) -> None:
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs {jobs} is not allowed: expected 1 or more")
    if (jobs or room()) == 1:
        sys.exit(subprocess.run(["dvc", "repro"], check=False).returncode)
    if subprocess.run(["dvc", "repro", "--quiet", "check"], check=False).returncode:
        sys.exit(1)
    projects = cells()
    side_by_side = SideBySide(max(map(len, projects)))
    # SIGINT, too: what a shell starts in the background ignores it, and so would all that is started and has to end by it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    with ThreadPoolExecutor(jobs or room()) as pool:
        results = {project: pool.submit(side_by_side.repro, project, stages) for project, stages in projects.items()}
        try:
            failed = [project for project, result in results.items() if not result.result()]
        except KeyboardInterrupt:
            side_by_side.stop()
            raise
    if failed:
        raise InputError(f"{', '.join(failed)} failed, see above: once mended, the same command goes on from there")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, help="projects at a time (default: as cores and memory allow)")


if __name__ == "__main__":
    run(main, arguments)
