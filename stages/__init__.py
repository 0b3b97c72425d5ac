"""The grid: a module for each verb of each project, and what they share.

Importing it limits the numerical libraries to AVX2, unless `engine.portable` is false: they choose their code by the
processor, and code for AVX-512 rounds differently. They read the variables when they are imported, so this comes first,
whatever starts a stage; child processes (workers, served models) inherit them.
"""

import gc
import os
import platform
from pathlib import Path

import yaml

VARIABLES = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # torch's convolutions
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # numpy's loops
    "OPENBLAS_CORETYPE": "Haswell",  # matrix products of numpy and scipy: the same code for AMD and Intel
    "OPENBLAS_NUM_THREADS": "1",
}
CHOICE = "STAGES_PORTABLE"
"""The variable by which child processes without a params.yaml know the choice: 1 or 0."""


def _chosen() -> bool:
    """`engine.portable` of params.yaml, true where that is missing or invalid (`check` reports it)."""
    try:
        parameters = yaml.load(Path("params.yaml").read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        return bool(parameters["engine"]["portable"])
    except FileNotFoundError:
        return os.environ.get(CHOICE) != "0"
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return True


def _limit(portable: bool) -> None:
    """Set the variables, or remove those that a parent process set here."""
    if portable and platform.machine() in ("x86_64", "AMD64"):
        os.environ.update(VARIABLES, **{CHOICE: "1"})
    else:
        if os.environ.get(CHOICE) == "1":
            for name in VARIABLES:
                os.environ.pop(name, None)
        os.environ[CHOICE] = "0"


_limit(_chosen())

# Python's own limit of 700 new objects is for small programs: torch and its like make half a million while they are
# imported, and looking through them for garbage takes a seventh of that time.
gc.set_threshold(50_000)


def portable() -> bool:
    """Whether the libraries of this process are limited, so that results are the same on every x86-64 processor with AVX2."""
    return os.environ[CHOICE] == "1"
