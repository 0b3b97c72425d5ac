"""Send a test set to a served classifier, and compare its predictions with those of evaluate."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    endpoint: process.ServedModel, bodies: Sequence[bytes], content_type: str, title: str
) -> tuple[NDArray[np.float64], list[float]]:
    """Send ``bodies`` one by one. Return the probabilities (N, classes) of all, and the seconds that each request took."""
    answers, seconds = replies(endpoint, bodies, content_type, title)
    return np.concatenate([answer["probabilities"] for answer in answers]), seconds


def replies(
    endpoint: process.ServedModel, bodies: Sequence[bytes], content_type: str, title: str
) -> tuple[list[dict[str, Any]], list[float]]:
    """Send ``bodies`` one by one. Return the answers, and the seconds that each request took."""
    answers = [endpoint.invoke(body, content_type) for body in tqdm(bodies, desc=f"{title} served", unit=" requests")]
    return [json.loads(answer.body) for answer in answers], [answer.seconds for answer in answers]


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


def compare_known(archive: Path, answers: Sequence[dict[str, Any]], expected: NDArray[np.float64]) -> int:
    """Return how many of the test images are known. Raise InputError unless ``answers`` match evaluate's familiarity (N)."""
    known = np.concatenate([answer["known"] for answer in answers])
    familiarity = np.concatenate([answer["familiarity"] for answer in answers])
    difference = float(np.abs(familiarity - expected).max())
    changed = (known != (expected >= 0)) & (np.abs(expected) > TOLERANCE)
    if changed.any() or not difference <= TOLERANCE:
        raise InputError(
            f"{archive}: {changed.sum()} of {len(expected)} test images are known here and unknown in evaluate, or the other way round, and their "
            f"familiarity differs by up to {difference:.2g}, expected at most {TOLERANCE:g}"
        )
    return int(known.sum())
