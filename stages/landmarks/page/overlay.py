"""Show on a photograph what its answer rests on, or the landmarks that were found in it."""

from base64 import b64encode
from html import escape
from typing import Any

import numpy as np

from stages.serving.page.examples import png
from stages.serving.page.html import name, note, percent, table

COLOUR, OPACITY = (255, 140, 0), 0.75
"""Of the strongest evidence. Weaker evidence is more transparent."""


def evidence(source: str, prediction: dict[str, Any]) -> str:
    """Return the photograph at the address ``source`` with the evidence for the best class, as HTML."""
    if "evidence" not in prediction:
        return ""
    strength = np.array(prediction["evidence"])
    pixels = np.empty((*strength.shape, 4), np.uint8)
    pixels[..., :3], pixels[..., 3] = COLOUR, np.rint(255 * OPACITY * strength)
    heat = f'<img class="heat" style="{_place(prediction["box"])}" alt="" src="data:image/png;base64,{b64encode(png(pixels)).decode()}">'
    best = escape(name(prediction["top"][0]["class"]))
    return _figure(source, f"Evidence for {best}", heat, f"Orange: on what of the picture the answer {best} rests.")


def boxes(source: str, found: list[dict[str, Any]]) -> str:
    """Return the photograph with a numbered box around each landmark, and a table of them, as HTML."""
    if not found:
        return note("No landmark that the model knows was found in this picture.")
    frames = "".join(
        f'<span class="box" style="{_place(one["box"])}"><b>{number}</b></span>' for number, one in enumerate(found, 1)
    )
    rows = [
        [str(number), escape(name(one["top"][0]["class"])), percent(one["top"][0]["probability"])]
        for number, one in enumerate(found, 1)
    ]
    listed = table("Landmarks from left to right", ["Box", "Class", "Probability"], rows)
    return _figure(source, f"{len(found)} landmarks in boxes", frames, "") + listed


def _figure(source: str, words: str, over: str, caption: str) -> str:
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f'<figure class="seen"><div><img src="{source}" alt="{words}">{over}</div>{below}</figure>'


def _place(box: list[float]) -> str:
    left, top, right, bottom = box
    return f"left:{left:.2%};top:{top:.2%};width:{right - left:.2%};height:{bottom - top:.2%}"
