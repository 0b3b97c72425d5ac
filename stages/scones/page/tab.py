"""The tab of scones: a vehicle's picture, its class, and whether the confidence passes the workflow's threshold."""

from collections.abc import AsyncIterator
from html import escape
from itertools import zip_longest
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from stages.common import files
from stages.serving.models import Models
from stages.serving.page import examples, pictures
from stages.serving.page.answers import answered
from stages.serving.page.examples import Example
from stages.serving.page.html import bars, name, none_of, one_block, percent

SHOWN = 5
"""Number of classes with a bar."""

SQUARED = '<p class="about">The model sees the central square of a picture, in its own size.</p>'
HINT = one_block('<p class="hint">Upload a picture, or click one of the examples.</p>')


def tab(models: Models, folder: Path, opened: gr.Tab) -> None:
    threshold = float(models.exports["scones"].metrics["threshold"])

    async def look(payload: Any) -> AsyncIterator[str]:
        async def ask() -> str:
            answer = await models.predict(
                "scones", await pictures.read(payload, folder), "application/octet-stream", None
            )
            return shown(answer["predictions"][0], threshold) + SQUARED

        if payload is None:
            yield HINT
            return
        async for markup in answered(ask):
            yield markup

    picture, result = pictures.intake("scones", "A picture of a vehicle", HINT)
    pictures.buttons(clickable, picture, folder)
    picture.change(look, picture, result, trigger_mode="always_last", preprocess=False, api_visibility="private")


def shown(prediction: dict[str, Any], threshold: float) -> str:
    """Return an answer as HTML: whether the workflow would continue, and the best classes' bars with the threshold.

    ``prediction`` has all classes.
    """
    top = prediction["top"]
    if prediction.get("known") is False:
        words = '<span class="bad">✗ the workflow stops here</span> If it were one of them:'
        return f'{none_of(len(top), "vehicles")}<p class="about">{words}</p>{bars(top[:SHOWN])}'
    best = top[0]
    passes = best["probability"] >= threshold
    title = escape(name(best["class"]))
    verdict = "passes: the workflow continues" if passes else "is too low: the workflow stops here"
    words = f"{'✓' if passes else '✗'} {percent(best['probability'])} {verdict}"
    return (
        f'<p class="verdict"><strong>{title}</strong> <span class="{"good" if passes else "bad"}">{words}</span></p>'
        f"{bars(top[:SHOWN], threshold)}"
        f'<p class="legend" aria-hidden="true"><i class="mark"></i> threshold {percent(threshold)}</p>'
    )


def clickable(number: int = 6) -> list[Example]:
    """Return test pictures of all classes in turn, first one that passes and then one that does not, as evaluate measured.

    Where a class has no more of a kind, the next one is of the other. Raise InputError if there are none.
    """
    arrays = np.load(files.require(Path("data/scones/features/test.npz"), "featurize@scones"))
    classes = files.read_json(files.require(Path("data/scones/raw/about.json"), "prepare@scones"))["classes"]
    passing = passes(Path("reports/scones"), len(arrays["labels"]))
    pictures, labels = arrays["images"], arrays["labels"]
    found = []
    for label in range(len(classes)):
        kinds = [list(np.flatnonzero((labels == label) & (passing == kind))) for kind in (True, False)]
        order = [row for pair in zip_longest(*kinds) for row in pair if row is not None]
        found.append(order[: -(-number // len(classes))])
    rows = [row for turn in zip_longest(*found) for row in turn if row is not None]
    return [examples.example(classes[labels[row]], examples.png(pictures[row])) for row in rows[:number]]


def passes(reports: Path, count: int) -> NDArray[np.bool_]:
    """Return whether the workflow lets each of the ``count`` test pictures through; all, if evaluate did not measure these."""
    try:
        probabilities = np.load(reports / "evaluation/probabilities.npy").astype(np.float64)
        familiarity = np.load(reports / "evaluation/familiarity.npy")
        threshold = files.read_json(reports / "details.json")["threshold"]
    except FileNotFoundError:
        return np.ones(count, bool)
    let: NDArray[np.bool_] = (probabilities.max(1) >= threshold) & (familiarity >= 0)
    return let if len(let) == count else np.ones(count, bool)
