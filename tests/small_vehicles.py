"""Small pictures of two vehicles that differ in colour, and tiny networks to train on them."""

from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
from checkouts import make_workspace, set_parameters

from stages import check
from stages.common import files
from stages.scones import evaluate, export, plot, train

TINY: dict[str, Any] = {
    "scones.residual": {"image_size": 32, "width": 4, "depth": 1, "dropout": 0.0, "weights": "none"},
    "scones.transfer.backbone": "mobilenet_v3_small",
    "scones.transfer.image_size": 32,
    "scones.transfer.weights": "none",
    "scones.transfer.fine_tune": "all",
    "scones.epochs": 4,
    "scones.batch_size": 8,
    "scones.precision": "float32",
    "scones.threads": 1,
}


def write_vehicles(folder: Path) -> None:
    """Write to ``folder`` what featurize would: 48 pictures to train on, 12 for validation, 20 for the test."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for part, count in (("train", 48), ("valid", 12), ("test", 20)):
        names = [f"{part}_{row}.png" for row in range(count)]
        labels = np.arange(count) % 2
        colours = np.array([(180, 70, 60), (60, 80, 180)])[labels][:, None, None]
        images = (colours + random.normal(0, 60, (count, 32, 32, 3))).clip(0, 255).astype(np.uint8)
        np.savez(folder / f"{part}.npz", images=images, labels=labels, names=names)
    files.write_json(folder / "about.json", {"source": "a test", "classes": ["bicycle", "motorcycle"]})


def make(root: Path, changes: Mapping[str, Any]) -> Path:
    """Train, evaluate, plot and export TINY with ``changes`` in the new project root ``root``, which is returned."""
    make_workspace(root)
    set_parameters(root / "params.yaml", TINY | dict(changes))
    write_vehicles(root / train.FEATURES)
    with chdir(root):
        for stage in (check, train, evaluate, plot, export):
            stage.main()
    return root
