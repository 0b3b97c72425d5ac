"""Run DVC's queue of experiments: decide how many run at a time, and report how each ends."""

import os
import time
from contextlib import suppress
from pathlib import Path

import psutil
from dvc.repo import Repo
from dvc.repo.experiments.queue.base import QueueEntry
from dvc.repo.experiments.queue.celery import LocalCeleryQueue
from dvc.repo.experiments.queue.exceptions import CannotKillTasksError

from stages.common import config
from stages.common.errors import InputError
from stages.experiments.records.recipes import Experiment
from stages.experiments.running import clones

POLL = 1.0
"""Seconds between two checks of the queue."""

COLLECTING = 5.0
"""Seconds that DVC's worker gets to collect a task's results after its process has ended."""

WAITING = ("Queued", "Running")


def states(repo: Repo) -> dict[str, str]:
    """Return the state of each experiment's newest task: Queued, Running, Failed or Success."""
    tasks = sorted(repo.experiments.celery_queue.status(), key=lambda task: str(task["timestamp"]))
    return {task["name"]: task["status"] for task in tasks}


def without_process(queue: LocalCeleryQueue) -> dict[str, QueueEntry]:
    """Return tasks that DVC treats as running although their process has ended, by revision."""
    entries = {entry.stash_rev: entry for entry in queue.iter_active()}
    processes = {revision: queue.proc.get(revision) for revision in entries}
    return {
        revision: entries[revision]
        for revision, process in processes.items()
        if process and not psutil.pid_exists(process.pid)
    }


def give_up_killed(repo: Repo) -> None:
    """Mark tasks whose process is gone as failed: DVC would treat them as running forever."""
    queue = repo.experiments.celery_queue
    if before := without_process(queue):
        time.sleep(COLLECTING)
        for revision, entry in without_process(queue).items():
            if revision in before:
                with suppress(CannotKillTasksError):  # a worker still handles it
                    queue.kill([entry.name or revision], force=True)


def room(experiments: list[Experiment], jobs: int | None) -> int:
    """Return how many experiments to run at a time: ``jobs``, or else as many as fit the cores; limited by memory."""
    parameters, cores = config.read(), os.cpu_count() or 1
    threads = max(experiment.threads(parameters) or cores for experiment in experiments)
    memory = max(experiment.recipe.memory for experiment in experiments)
    free = psutil.virtual_memory().available / 1e9
    wanted = min(jobs or max(1, cores // threads), len(experiments))
    held = max(1, int(free / memory))
    if held < wanted:
        print(f"{held} at a time instead of {wanted}: each needs up to {memory:g} GB, and {free:.1f} GB are free")
    return min(wanted, held)


def reason(repo: Repo, name: str) -> str:
    """Return the first error line of a failed task's log."""
    queue = repo.experiments.celery_queue
    entry = queue.match_queue_entry_by_name([name], queue.iter_done())[name]
    process = queue.proc.get(entry.stash_rev) if entry else None
    if process is None:
        return "it did not start"
    return clones.reason(Path(process.stdout))


def work(repo: Repo, experiments: list[Experiment], jobs: int | None) -> None:
    """Run the queued experiments and print how each ends. Raises InputError with the names of failed ones."""
    found = states(repo)
    waiting = [experiment for experiment in experiments if found.get(experiment.name) in WAITING]
    if not waiting:
        return
    count = room(waiting, jobs)
    print(
        f"{len(waiting)} experiments, {count} at a time. They keep running after Ctrl-C; `dvc queue stop --kill` stops them."
    )
    repo.experiments.celery_queue.start_workers(count)
    begin = time.monotonic()
    told: set[str] = set()
    failed: list[str] = []
    while len(told) < len(waiting):
        time.sleep(POLL)
        give_up_killed(repo)
        found = states(repo)
        for name in [experiment.name for experiment in waiting]:
            if name in told or found.get(name) in WAITING:
                continue
            told.add(name)
            minutes, seconds = divmod(int(time.monotonic() - begin), 60)
            why = "" if found.get(name) == "Success" else f": {reason(repo, name)}"
            failed += [name] if why else []
            outcome = "failed" if why else "done"
            print(f"{minutes:3}:{seconds:02} {len(told)}/{len(waiting)} {name} {outcome}{why}", flush=True)
    if failed:
        raise InputError(
            f"{', '.join(failed)} failed: `dvc queue logs {failed[0]}` shows the full log; fix the error, then run the same command again"
        )
