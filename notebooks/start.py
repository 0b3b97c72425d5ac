"""Prepare a notebook: a folder of its own for what its stages write, with a copy of the parameters.

So a notebook never changes the results of the pipeline.
"""

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRATCH = Path(__file__).resolve().parent / "scratch"


def project(name: str) -> Path:
    """Make this process work in ``scratch/NAME``, with params.yaml as it is in the checkout, and return that folder.

    What an earlier run left there stays until a stage writes it anew.
    """
    folder = SCRATCH / name
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copytree(ROOT / "metrics", folder / "metrics", dirs_exist_ok=True)
    os.chdir(folder)
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    os.environ["PYTHONPATH"] = str(ROOT)  # for processes that a stage starts
    os.environ.setdefault("TQDM_MININTERVAL", "1")
    return folder


def change(settings: dict[str, object]) -> None:
    """Change parameters of the copy by their dotted names, such as ``{"mnist.optimizer": "sgd"}``.

    The next stage checks them. Raises KeyError for an unknown name.
    """
    import yaml

    from stages.common import config

    parameters = config.read()
    for name, value in settings.items():
        *groups, key = name.split(".")
        group = parameters
        for part in groups:
            group = group[part]
        if key not in group:
            raise KeyError(f"{name} is not a parameter: {', '.join(group)}")
        group[key] = value
    Path("params.yaml").write_text(yaml.safe_dump(parameters, sort_keys=False))
