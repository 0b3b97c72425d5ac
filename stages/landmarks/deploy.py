"""Serve the exported predictor in a separate process, send it the test photographs, and compare its answers with evaluate's.

With `deploy.landmarks.version` set, serve that release and compare it with its own evaluation. The photographs are sent
one by one as the original files, which includes decoding, and again in batches.
"""

from pathlib import Path

import numpy as np
import torch

from stages.common import clocks, config, files
from stages.common.models import registry
from stages.common.program import run
from stages.landmarks import photographs
from stages.landmarks.config import Deploy
from stages.landmarks.store import Store
from stages.serving import comparison, process

RAW = Path("data/landmarks/raw")
FEATURES = Path("data/landmarks/features")
EVALUATION = Path("reports/landmarks/evaluation")
ARCHIVE = Path("models/landmarks/export/model.tar.gz")
REPORT = Path("reports/landmarks/deploy.json")


def main() -> None:
    settings = config.load("deploy.landmarks", Deploy)
    with registry.opened("landmarks", settings.version, [ARCHIVE, EVALUATION, FEATURES, RAW]) as root:
        model = files.require(root / ARCHIVE, "export@landmarks")
        expected = np.load(files.require(root / EVALUATION, "evaluate@landmarks") / "probabilities.npy")
        about, test = files.read_json(root / FEATURES / "about.json"), Store(root / FEATURES, "test")
        with photographs.open_archive(root / RAW, "test") as archive:
            originals = [archive.read(photograph.path) for photograph in photographs.read_index(root / RAW, "test")]
        batches = [
            comparison.npy(test.crops(chosen.numpy(), about["size"]).permute(0, 2, 3, 1).numpy())
            for chosen in torch.arange(len(test)).split(settings.batch)
        ]
        with process.serve(model) as endpoint:
            comparison.ask(endpoint, originals[:5], "image/*", "landmarks")  # TorchScript compiles in its first calls
            comparison.ask(endpoint, batches[:2], "application/x-npy", "landmarks")
            one_by_one, seconds = comparison.replies(endpoint, originals, "image/*", "landmarks")
            together, batch_seconds = comparison.ask(endpoint, batches, "application/x-npy", "landmarks")
        labels = test.labels.numpy()
        probabilities = np.concatenate([answer["probabilities"] for answer in one_by_one])
        compared = comparison.compare(ARCHIVE, probabilities, expected, labels)
        report = {"version": settings.version, "data": about["source"], **compared}
        familiarity = root / EVALUATION / "familiarity.npy"
        if familiarity.exists():  # releases from before it was measured have none
            report["known"] = comparison.compare_known(ARCHIVE, one_by_one, np.load(familiarity))
        comparison.compare(ARCHIVE, together, expected, labels)
        files.write_json(REPORT, report)
        one, batch = process.latency(seconds, len(test)), process.latency(batch_seconds, len(test))
        clocks.write("deploy@landmarks", (root / ARCHIVE).parent, {"one": one, "batch": batch})
        print(f"Served {len(test)} test photographs: all predictions match evaluate's")


if __name__ == "__main__":
    run(main)
