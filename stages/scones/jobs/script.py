"""What each process of a training job on SageMaker runs: the module train, with the job's folders in the place of its own."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))  # the job's code, of which torchrun knows this file alone

from stages.common import config
from stages.common.program import run
from stages.scones import train
from stages.scones.config import Train


def main() -> None:
    result = Path(os.environ["SM_MODEL_DIR"])
    features = Path(os.environ["SM_CHANNEL_FEATURES"])
    train.on_this_machine(config.load("scones", Train), features, result / "trained", result / "training.json")


if __name__ == "__main__":
    run(main)
