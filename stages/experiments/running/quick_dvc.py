"""Run DVC's command line faster, with the same files: `python -m stages.experiments.running.quick_dvc ARGUMENTS...`.

`make repro` and `make recipe` use it. After each stage DVC parses all of dvc.lock in pure Python, to keep comments (it has none), and
rewrites the file: half a second or more. Here only the stage's own part of the file is replaced. A process that waits
for DVC's lock checks it more often.
"""

import re
import sys
from pathlib import Path
from typing import Any

from dvc import lock
from dvc.cli import main
from dvc.dvcfile import Lockfile, logger
from dvc.stage import PipelineStage, serialize
from dvc.utils.serialize import dumps_yaml

from stages.common import files

HEAD = "schema: '2.0'\nstages:\n"
in_full = Lockfile.dump_stages


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


if __name__ == "__main__":
    Lockfile.dump_stages = dump_stages
    lock.DEFAULT_TIMEOUT = 0.3  # seconds for six checks of the lock
    sys.exit(main(sys.argv[1:]))
