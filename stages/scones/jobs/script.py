"""The script that each process of a training job on SageMaker runs: the module train, with the job's folders."""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))  # the job's code: torchrun only knows this file

from stages.common import config, distributed, files
from stages.common.program import InputError, run
from stages.scones import train
from stages.scones.config import Train


def main() -> None:
    settings = config.load("scones", Train)
    result, features = Path(os.environ["SM_MODEL_DIR"]), Path(os.environ["SM_CHANNEL_FEATURES"])
    with distributed.group(settings.batch_size) as taking_part, tempfile.TemporaryDirectory() as scratch:
        if not taking_part:
            raise InputError(
                f"scones.batch_size = {settings.batch_size} cannot be shared by {os.environ['WORLD_SIZE']} processes: "
                "expected a multiple of their number, at least twice as many"
            )
        folder = result / "trained" if distributed.rank() == 0 else Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        train.fill(folder, settings, features, train.checkpoint_of(settings, features, files.kept()))


if __name__ == "__main__":
    run(main)
