"""Record the circumstances of a measurement: date, hardware, versions. They are stored with each result."""

import datetime
import importlib.metadata
import os
import platform
import re
import shlex
import sys
from pathlib import Path
from typing import Any


def now() -> dict[str, Any]:
    """Return the command of a benchmark, date, hardware and torch's version."""
    module = Path(sys.argv[0]).stem
    return {
        "command": shlex.join(["python", "-m", f"benchmarks.{module}", *sys.argv[1:]]),
        "date": today(),
        "hardware": hardware(),
        "torch": importlib.metadata.version("torch"),
    }


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def hardware() -> str:
    """Return the processor's name as Linux reports it, or else its architecture, and the number of cores."""
    about = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.+)", about.read_text()) if about.exists() else None
    return f"{named[1] if named else platform.machine()}, {os.cpu_count()} cores"
