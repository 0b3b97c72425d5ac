"""Send a test set to a served classifier, and compare its predictions with those of evaluate."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from stages.common.errors import InputError
from stages.serving import process

TOLERANCE = 1e-4
"""Largest allowed difference between a served probability and the one that evaluate wrote."""


def npy(images: NDArray[np.uint8]) -> bytes:
    """Return ``images`` as numpy.save writes them: the body of a request of type application/x-npy."""
    buffer = io.BytesIO()
    np.save(buffer, images)
    return buffer.getvalue()


def ask(
    endpoint: process.Endpoint, bodies: Sequence[bytes], content_type: str, title: str
) -> tuple[NDArray[np.float64], list[float]]:
    """Send ``bodies`` one by one. Return the probabilities (N, classes) of all, and the seconds that each request took."""
    answers = [endpoint.invoke(body, content_type) for body in tqdm(bodies, desc=f"{title} served", unit=" requests")]
    probabilities = np.concatenate([json.loads(answer.body)["probabilities"] for answer in answers])
    return probabilities, [answer.seconds for answer in answers]


def compare(
    archive: Path, served: NDArray[np.float64], expected: NDArray[np.float32], labels: NDArray[np.integer]
) -> dict[str, float]:
    """Return rows and accuracy of the ``served`` probabilities. Raise InputError unless they match the ``expected`` ones."""
    if served.shape != expected.shape:
        raise InputError(f"{archive}: found probabilities of shape {served.shape}, expected {expected.shape}")
    changed = np.flatnonzero(served.argmax(1) != expected.argmax(1))
    difference = float(np.abs(served - expected).max())
    if len(changed) or not difference <= TOLERANCE:
        where = f" (the first is image {changed[0]})" if len(changed) else ""
        raise InputError(
            f"{archive}: {len(changed)} of {len(labels)} test images get another class than in evaluate{where}, and "
            f"probabilities differ by up to {difference:.2g}, expected at most {TOLERANCE:g}"
        )
    return {"rows": len(labels), "accuracy": round(float((served.argmax(1) == labels).mean()), 6)}
