"""What a figure depends on besides the code: kept beside it in the results."""

import datetime
import importlib.metadata
import os
import platform
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from stages.common import config
from stages.common.config import merged
from stages.experiments.records import recipes
from stages.landmarks.config import Train


def now(threads: int) -> dict[str, Any]:
    """Command, date, hardware, torch's version and the ``threads`` that it was given."""
    module = Path(sys.argv[0]).stem
    return {
        "command": shlex.join(["python", "-m", f"benchmarks.{module}", *sys.argv[1:]]),
        "date": today(),
        "hardware": hardware(),
        "torch": importlib.metadata.version("torch"),
        "threads": threads,
    }


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def hardware() -> str:
    """The processor as Linux names it, else its architecture, and the number of cores."""
    about = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.+)", about.read_text()) if about.exists() else None
    return f"{named[1] if named else platform.machine()}, {os.cpu_count()} cores"


def landmarks_settings(recipe: str) -> Train:
    """The group `landmarks` of params.yaml with the changes of a recipe, on the CPU."""
    changes = recipes.named(recipe).set["landmarks"] | {"device": "cpu"}
    return config.check("landmarks", Train, merged(config.read()["landmarks"], changes))
