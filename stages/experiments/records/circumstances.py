"""Circumstances of a measurement besides the code: date, hardware, versions. They are stored with each result."""

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
    """Return the command, date, hardware, torch's version and its ``threads``."""
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
    """Return the processor's name as Linux reports it, or else its architecture, and the number of cores."""
    about = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.+)", about.read_text()) if about.exists() else None
    return f"{named[1] if named else platform.machine()}, {os.cpu_count()} cores"


def landmarks_settings(recipe: str) -> Train:
    """Return the group `landmarks` of params.yaml with a recipe's changes and `device: cpu`."""
    changes = recipes.named(recipe).set["landmarks"] | {"device": "cpu"}
    return config.check("landmarks", Train, merged(config.read()["landmarks"], changes))
