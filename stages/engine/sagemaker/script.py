"""Entry point of each process of a training job on SageMaker. It calls `fill` of the project's train with the job's folders."""

import os
import sys
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))  # torchrun knows only this file of the job's code

from stages.common import config, files
from stages.common.errors import InputError
from stages.common.program import run
from stages.common.training import distributed, ensemble


def main() -> None:
    (project,) = config.read().keys() - {"engine"}
    train = import_module(f"stages.{project}.train")
    settings = config.load(project, train.Train)
    train.FEATURES.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):  # another process of this instance was first
        train.FEATURES.symlink_to(os.environ["SM_CHANNEL_FEATURES"])
    shared = ensemble.batch_size(project, settings)
    with distributed.group(shared) as taking_part, tempfile.TemporaryDirectory() as scratch:
        if not taking_part:
            raise InputError(
                f"{project}.batch_size = {shared} cannot be shared by {os.environ['WORLD_SIZE']} processes: "
                "expected a multiple, twice as many at least"
            )
        folder = Path(os.environ["SM_MODEL_DIR"], "trained") if distributed.rank() == 0 else Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        train.fill(settings, train.checkpoints_of(settings, files.kept()), folder)


if __name__ == "__main__":
    run(main)
