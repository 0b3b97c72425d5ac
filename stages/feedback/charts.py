"""Charts and pictures of the page on drift."""

import io
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.common.drift import Values
from stages.experiments.pages.page import inlined


def chart(ours: Values, theirs: Values) -> str:
    """Return a Vega-Lite chart of a feature's values in requests and in training, as JSON."""
    categories = theirs.dtype.kind == "U"
    both = ["training", "requests"]
    if categories:  # training's most frequent one first
        edges = np.array(sorted(np.union1d(ours, theirs), key=lambda one: -np.count_nonzero(theirs == one)))
        x = {"type": "nominal", "title": None, "sort": None, "axis": {"labelAngle": -30, "labelLimit": 90}}
        place, number = {"xOffset": {"field": "of", "sort": both}}, ""
    else:
        edges = np.histogram_bin_edges(np.concatenate([ours, theirs]), 20)
        x = {"type": "quantitative", "title": None, "bin": {"binned": True}, "scale": {"zero": False}}
        place, number = {"x2": {"field": "to"}}, ".4~g"
    rows: list[dict[str, Any]] = []
    for which, values in zip(both, (theirs, ours), strict=True):
        counts = [np.count_nonzero(values == edge) for edge in edges] if categories else np.histogram(values, edges)[0]
        for index, count in enumerate(counts):
            end = {} if categories else {"to": edges[index + 1].item()}
            rows.append({"of": which, "share": count / len(values), "at": edges[index].item(), **end})
    axis = {"format": "%", "tickCount": 4}
    colours = {"domain": both, "range": ["#4c78a8", "#f58518"]}
    told = [{"field": "of"}, {"field": "at", "format": number}, {"field": "share", "format": ".1%"}]
    encoding = {
        "x": {"field": "at", **x},
        "y": {"field": "share", "type": "quantitative", "stack": None, "title": "fraction", "axis": axis},
        "color": {"field": "of", "scale": colours, "legend": {"orient": "top", "title": None}},
        "tooltip": told,
        **place,
    }
    return json.dumps(
        {
            "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
            "data": {"values": rows},
            "width": 230,  # pixels: both axes and the page's margins fit into 390
            "height": 150,
            "mark": {"type": "bar", "opacity": 1 if categories else 0.6},
            "encoding": encoding,
        }
    )


def picture(pixels: NDArray[np.uint8]) -> str:
    """Return a picture, uint8 (H, W) or (H, W, 3), as the data URL of a PNG file of at most 224 pixels a side."""
    image = Image.fromarray(pixels)
    image.thumbnail((224, 224))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return inlined(buffer.getvalue(), "picture.png")
