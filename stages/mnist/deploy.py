"""Serve the exported model in a separate process, send it the whole test set, and compare its answers with evaluate's.

With `deploy.mnist.version` set, serve that release and compare it with its own evaluation. The whole test set is sent
in large requests. Some images are also sent one by one, to measure latency: as arrays, because a picture is converted
unless its digit is placed as MNIST's are.
"""

from pathlib import Path

import numpy as np

from stages.common import clocks, config, files
from stages.common.models import registry
from stages.common.program import run
from stages.mnist.config import Deploy
from stages.serving import comparison, process

FEATURES = Path("data/mnist/features")
EVALUATION = Path("reports/mnist/evaluation")
ARCHIVE = Path("models/mnist/export/model.tar.gz")
REPORT = Path("reports/mnist/deploy.json")


def main() -> None:
    settings = config.load("deploy.mnist", Deploy)
    with registry.opened("mnist", settings.version, [ARCHIVE, EVALUATION, FEATURES]) as root:
        serve(root, settings)


def serve(root: Path, settings: Deploy) -> None:
    """Serve the archive below ``root``, compare it with the evaluation there, and write the reports."""
    archive = files.require(root / ARCHIVE, "export@mnist")
    expected = np.load(files.require(root / EVALUATION, "evaluate@mnist") / "probabilities.npy")
    with np.load(root / FEATURES / "test.npz") as test:
        images, labels = test["images"], test["labels"]
    source = files.read_json(root / FEATURES / "about.json")["source"]
    single = images[: settings.single]
    with process.serve(archive) as endpoint:
        one = [comparison.npy(image[None]) for image in single]
        comparison.ask(endpoint, one[:10], "application/x-npy", "mnist")  # TorchScript compiles in its first calls
        batches = [
            comparison.npy(images[start : start + settings.batch]) for start in range(0, len(images), settings.batch)
        ]
        answers, batch_seconds = comparison.replies(endpoint, batches, "application/x-npy", "mnist")
        one_by_one, seconds = comparison.ask(endpoint, one, "application/x-npy", "mnist")
    together = np.concatenate([answer["probabilities"] for answer in answers])
    report = {"version": settings.version, "data": source, **comparison.compare(ARCHIVE, together, expected, labels)}
    familiarity = root / EVALUATION / "familiarity.npy"
    if familiarity.exists():  # releases from before it was measured have none
        report["known"] = comparison.compare_known(ARCHIVE, answers, np.load(familiarity))
    comparison.compare(ARCHIVE, one_by_one, expected[: len(single)], labels[: len(single)])
    files.write_json(REPORT, report)
    clocks.write(
        "deploy@mnist",
        (root / ARCHIVE).parent,
        {"one": process.latency(seconds, len(single)), "batch": process.latency(batch_seconds, len(images))},
    )
    print(f"Served {len(labels)} test images: all predictions match evaluate's")


if __name__ == "__main__":
    run(main)
