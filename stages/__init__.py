"""The pipeline's code: a folder for each project with a module for each stage, and the modules that projects share.

Importing this package limits the numerical libraries to AVX2, unless `engine.portable` is false. The libraries choose
their code by the processor, and code for AVX-512 rounds differently. They read these variables when they are imported,
so this package sets them first, whatever starts a stage. Child processes (workers, served models) inherit the
variables.
"""

import gc
import os
import platform
import sys
from pathlib import Path
from types import TracebackType


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Report a missing package in one line: nearly always a stage runs with the system's Python."""
    if not isinstance(error, ModuleNotFoundError) or str(error.name).partition(".")[0] == "stages":
        sys.__excepthook__(kind, error, trace)
        return
    print(
        f"error: {sys.executable} does not have the package {error.name}: activate the environment "
        "(. .venv/bin/activate), which `make env` creates",
        file=sys.stderr,
    )


sys.excepthook = _report

import yaml  # noqa: E402  (the first package that may be missing)

VARIABLES = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # torch's convolutions
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",  # torch's other products, on Intel's processors; MKL ignores it on others
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # numpy's loops
    "OPENBLAS_CORETYPE": "Haswell",  # matrix products of numpy and scipy: the same code for AMD and Intel
    "OPENBLAS_NUM_THREADS": "1",
}
CHOICE = "STAGES_PORTABLE"
"""Variable that passes the choice to child processes without a params.yaml: 1 or 0."""


def _chosen() -> bool:
    """Return `engine.portable` of params.yaml, or True if it is missing or invalid (`check` reports it)."""
    try:
        parameters = yaml.load(Path("params.yaml").read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        return bool(parameters["engine"]["portable"])
    except FileNotFoundError:
        return os.environ.get(CHOICE) != "0"
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return True


def _limit(portable: bool) -> None:
    """Set the variables, or remove those that a parent process of this project set."""
    if portable and platform.machine() in ("x86_64", "AMD64"):
        os.environ.update(VARIABLES, **{CHOICE: "1"})
    else:
        if os.environ.get(CHOICE) == "1":
            for name in VARIABLES:
                os.environ.pop(name, None)
        os.environ[CHOICE] = "0"


_limit(_chosen())

# Python collects garbage after every 700 new objects by default. Importing torch and similar packages makes half a
# million objects, and collecting among them takes a sixth of the import time. `program.run` lowers this afterwards.
gc.set_threshold(500_000)


def portable() -> bool:
    """Return whether this process limits its libraries to AVX2.

    Results are then the same on every x86-64 processor with AVX2.
    """
    return os.environ[CHOICE] == "1"
