"""Serves the exported model in a process of its own, puts the whole test set to it, and compares with evaluate.

The test set goes over in large requests; some images go one by one, as PNG files, for the time that a caller waits.
"""

import io
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from stages.common import bundle, config, files
from stages.common.program import InputError, run
from stages.mnist.config import Deploy

FEATURES = Path("data/mnist/features")
EVALUATION = Path("reports/mnist/evaluation")
ARCHIVE = Path("models/mnist/export/model.tar.gz")
REPORT = Path("reports/mnist/deploy.json")
LATENCY = Path("reports/mnist/latency.json")

TOLERANCE = 1e-4
"""By how much a served probability may differ from the one that evaluate wrote."""


def npy(images: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, images)
    return buffer.getvalue()


def png(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def ask(endpoint: bundle.Endpoint, bodies: list[bytes], content_type: str) -> tuple[NDArray[np.float64], list[float]]:
    """The probabilities (N, 10) that all ``bodies`` get together, and the seconds that each request took."""
    answers = [
        endpoint.invoke(body, content_type) for body in tqdm(bodies, desc=f"mnist {content_type}", unit=" requests")
    ]
    probabilities = np.concatenate([json.loads(answer.body)["probabilities"] for answer in answers])
    return probabilities, [answer.seconds for answer in answers]


def compare(served: NDArray[np.float64], expected: NDArray[np.float32], labels: NDArray[np.uint8]) -> dict[str, float]:
    """How the served answers stand to evaluate's. Raises InputError unless they are the same."""
    if served.shape != expected.shape:
        raise InputError(f"{ARCHIVE}: answers of shape {served.shape}, expected {expected.shape}")
    changed = np.flatnonzero(served.argmax(1) != expected.argmax(1))
    difference = float(np.abs(served - expected).max())
    if len(changed) or not difference <= TOLERANCE:
        where = f", the first one image {changed[0]}" if len(changed) else ""
        raise InputError(
            f"{ARCHIVE}: {len(changed)} of {len(labels)} test images get another class{where}, and probabilities differ by up to "
            f"{difference:.2g}, expected evaluate's answers within {TOLERANCE:g}"
        )
    return {"rows": len(labels), "accuracy": round(float((served.argmax(1) == labels).mean()), 6)}


def main() -> None:
    settings = config.load("deploy.mnist", Deploy)
    files.require(ARCHIVE, "export@mnist")
    expected = np.load(files.require(EVALUATION, "evaluate@mnist") / "probabilities.npy")
    with np.load(FEATURES / "test.npz") as test:
        images, labels = test["images"], test["labels"]
    source = files.read_json(FEATURES / "about.json")["source"]
    single = images[: settings.single]
    with bundle.serve(ARCHIVE) as endpoint:
        ask(endpoint, [png(image) for image in images[:10]], "image/png")  # TorchScript compiles in its first calls
        batches = [npy(images[start : start + settings.batch]) for start in range(0, len(images), settings.batch)]
        served, batch_seconds = ask(endpoint, batches, "application/x-npy")
        one_by_one, seconds = ask(endpoint, [png(image) for image in single], "image/png")
    report = {"data": source, **compare(served, expected, labels)}
    compare(one_by_one, expected[: len(single)], labels[: len(single)])
    files.write_json(REPORT, report)
    files.write_json(
        LATENCY, {"one": bundle.latency(seconds, len(single)), "batch": bundle.latency(batch_seconds, len(images))}
    )
    print(f"{len(labels)} test images served, all as evaluate had them")


if __name__ == "__main__":
    run(main)
