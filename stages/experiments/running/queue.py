"""DVC's queue of experiments: how many at a time this machine has room for, and what becomes of them."""

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
from stages.common.program import InputError
from stages.experiments.records.recipes import Experiment
from stages.experiments.running import clones

POLL = 1.0
"""Seconds between two looks at the queue."""

COLLECTING = 5.0
"""Seconds that DVC's worker is given for a task's results once its process has ended."""

WAITING = ("Queued", "Running")


def states(repo: Repo) -> dict[str, str]:
    """Queued, Running, Failed or Success by experiment: its newest task's."""
    tasks = sorted(repo.experiments.celery_queue.status(), key=lambda task: str(task["timestamp"]))
    return {task["name"]: task["status"] for task in tasks}


def without_process(queue: LocalCeleryQueue) -> dict[str, QueueEntry]:
    """Tasks that DVC takes as running though their process has ended, by revision."""
    entries = {entry.stash_rev: entry for entry in queue.iter_active()}
    processes = {revision: queue.proc.get(revision) for revision in entries}
    return {
        revision: entries[revision]
        for revision, process in processes.items()
        if process and not psutil.pid_exists(process.pid)
    }


def give_up_killed(repo: Repo) -> None:
    """Mark tasks as failed whose process is gone: by itself DVC takes them as running for ever."""
    queue = repo.experiments.celery_queue
    if before := without_process(queue):
        time.sleep(COLLECTING)
        for revision, entry in without_process(queue).items():
            if revision in before:
                with suppress(CannotKillTasksError):  # a worker still has it
                    queue.kill([entry.name or revision], force=True)


def room(experiments: list[Experiment], jobs: int | None) -> int:
    """How many of them run at a time: ``jobs``, else as many as there are cores for; never more than memory holds."""
    parameters, cores = config.read(), os.cpu_count() or 1
    threads = max(experiment.threads(parameters) or cores for experiment in experiments)
    memory = max(experiment.recipe.memory for experiment in experiments)
    free = psutil.virtual_memory().available / 1e9
    wanted = min(jobs or max(1, cores // threads), len(experiments))
    held = max(1, int(free / memory))
    if held < wanted:
        print(f"{held} at a time instead of {wanted}: each takes up to {memory:g} GB, and {free:.1f} GB are free")
    return min(wanted, held)


def reason(repo: Repo, name: str) -> str:
    """The line of a failed task's log that tells why."""
    queue = repo.experiments.celery_queue
    entry = queue.match_queue_entry_by_name([name], queue.iter_done())[name]
    process = queue.proc.get(entry.stash_rev) if entry else None
    if process is None:
        return "it did not begin"
    return clones.reason(Path(process.stdout))


def work(repo: Repo, experiments: list[Experiment], jobs: int | None) -> None:
    """Run those that are queued and tell of each when it ends. Raises InputError naming the ones that failed."""
    found = states(repo)
    waiting = [experiment for experiment in experiments if found.get(experiment.name) in WAITING]
    if not waiting:
        return
    count = room(waiting, jobs)
    print(
        f"{len(waiting)} experiments, {count} at a time. Ctrl-C leaves them to run: `dvc queue stop --kill` ends them."
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
            f"{', '.join(failed)} failed: `dvc queue logs {failed[0]}` shows all of it; once mended, the same command runs it again"
        )
