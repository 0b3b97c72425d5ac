"""Run DVC's command line faster, with the same files: `python -m stages.experiments.running.quick_dvc ARGUMENTS...`.

`make repro`, `make recipe` and `make run` use it. After each stage DVC parses all of dvc.lock in pure Python, to keep
comments (it has none), and rewrites the file, which takes half a second or more. This program replaces only the stage's own
part of the file. It forks a project's stages from one process that has imported their packages, see `fork_server`. While it
waits for DVC's lock, it checks the lock more often.
"""

import re
import shutil
import signal
import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dvc import lock
from dvc.cli import main
from dvc.dvcfile import Lockfile, logger
from dvc.stage import PipelineStage, serialize
from dvc.stage import run as running
from dvc.stage.exceptions import StageCmdFailedError
from dvc.utils.serialize import dumps_yaml

from stages.common import files

HEAD = "schema: '2.0'\nstages:\n"
STAGE = re.compile(r"python -m (stages\.(\w+)\.(?!prepare|featurize)\w+)")
"""The command of a stage. prepare and featurize need none of the large packages."""
in_full = Lockfile.dump_stages
in_shell = running._run
servers: dict[str, tuple[Connection, subprocess.Popen[bytes]]] = {}


def with_stages(before: str, stages: dict[str, Any]) -> str | None:
    """Return dvc.lock's text with ``stages`` replaced or added, as DVC writes it; None if ``before`` has other parts."""
    lines = before.removeprefix(HEAD)
    if lines == before or re.search(r"^\S", lines, re.MULTILINE):
        return None
    parts = [part for part in re.split(r"^(?=  \S)", lines, flags=re.MULTILINE) if part]
    by_name = {part.partition("\n")[0]: part for part in parts}
    for name, content in stages.items():
        part = dumps_yaml({"stages": {name: content}}).removeprefix("stages:\n")
        by_name[part.partition("\n")[0]] = part
    return HEAD + "".join(by_name.values())


def dump_stages(self: Lockfile, stages: list[PipelineStage], **options: Any) -> None:
    path = Path(self.path)
    before = path.read_text(encoding="utf-8") if path.exists() else HEAD
    contents: dict[str, Any] = {}
    for stage in stages:
        contents |= serialize.to_lockfile(stage, **options)
    after = with_stages(before, contents)
    if after is None:
        in_full(self, stages, **options)
    elif after != before:
        logger.info("Updating lock file '%s'", self.relpath)
        with files.new_file(path) as partial:
            partial.write_text(after, encoding="utf-8")
        self.repo.scm_context.track_file(self.relpath)


def run(executable: str | None, command: str, **options: Any) -> None:
    """Run a stage's ``command``, in a fork if it is a module of a project. ``options`` are those of `subprocess.Popen`."""
    found, python = STAGE.fullmatch(command), shutil.which("python", path=options["env"].get("PATH"))
    if not found or not python:
        in_shell(executable, command, **options)
        return
    module, project = found.groups()
    if project not in servers:
        own, other = Pipe()
        server = [python, "-m", "stages.experiments.running.fork_server", str(other.fileno()), project]
        servers[project] = own, subprocess.Popen(server, pass_fds=[other.fileno()], **options)
        other.close()
    connection, process = servers[project]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the stage ends by itself and reports its status
    try:
        connection.send((module, options["env"]["DVC_STAGE"]))
        status = connection.recv()
    except (EOFError, OSError):
        del servers[project]
        status = process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    if status:
        raise StageCmdFailedError(command, status)


if __name__ == "__main__":
    Lockfile.dump_stages = dump_stages
    running._run = run
    lock.DEFAULT_TIMEOUT = 0.3  # seconds for six checks of the lock
    sys.exit(main(sys.argv[1:]))
