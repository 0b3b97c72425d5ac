"""The functions that SageMaker's PyTorch inference image calls to serve the exported model.

The image provides torch, numpy and Pillow. From the project this module imports only `images.py`, `known.py`, `regions.py`
and `saliency.py`, which are in the same folder. A request contains one photograph as a file, or several of one size. The
answer has one row per photograph: `{"classes": ["hagia_sophia", ...], "places": [[41.0085, 28.98], ...], "probabilities":
[[0.98, ...]], "known": [true], "familiarity": [0.1], "top5": [[{"class": "hagia_sophia", "probability": 0.98, "latitude":
41.0085, "longitude": 28.98}, ...]]}`. A photograph with a negative familiarity is not known: it resembles none of the
training photographs, and its probabilities mean nothing. Unreadable input raises ValueError.

For one photograph a request can ask for more, by a parameter of its content type. `image/jpeg; several=true`: the landmarks
in it, from left to right, one row each, and `boxes`: left, top, right and bottom of each, as fractions of the upright
photograph's sides. `image/jpeg; evidence=true`: `boxes` of what the first network sees, and `evidence`: for each row, how much
each of 32 x 32 cells of the box speaks for its best class, from 0 to 1, rows from top to bottom.
"""

import json
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

try:
    import images
    import known  # type: ignore[import-not-found]
    import regions  # type: ignore[import-not-found]
    import saliency  # type: ignore[import-not-found]
except ImportError:  # in the project, not in the export
    from stages.common.vision import images, known
    from stages.landmarks.pictures import regions, saliency

MAX_PIXELS = 100_000_000
"""Largest number of pixels of a photograph, checked before it is decoded."""

MAX_PHOTOGRAPHS = 64
"""Largest number of photographs in a request. Each becomes a square, however small it is, and costs as much as any other."""

AT_A_TIME = 32
"""Photographs that the network gets at once, because their maps need memory."""

WORKING = 768
"""Pixels to whose one- to twofold the shorter side of a larger photograph is reduced before landmarks are looked for."""

CELLS = 32
"""Cells of the evidence on each side."""

CONTENT_TYPES = (*images.CONTENT_TYPES, "application/x-npy")
"""Content types that `input_fn` reads."""

PLACE = ("latitude", "longitude")

Model = tuple[torch.jit.ScriptModule, list[dict[str, object]], known.Arrays]


class Asked(NamedTuple):
    """A photograph about which a request asks more: uint8 (1, 3, H, W), once ready its squares, (N, 3, S, S), with their boxes."""

    images: torch.Tensor
    several: bool
    boxes: np.ndarray | None = None


class Prediction(NamedTuple):
    """The classes, the probabilities, float32 (N, classes), and the familiarity, float64 (N); if asked for, more.

    ``boxes`` are float (N, 4) and ``evidence`` is float32 (N, CELLS, CELLS), see above.
    """

    classes: list[dict[str, object]]
    probabilities: torch.Tensor
    familiarity: torch.Tensor
    boxes: np.ndarray | None = None
    evidence: torch.Tensor | None = None


Item = torch.Tensor | Asked

PRESERVED = ["squares", "inspect", "inputs", "logits_and_maps", "part"]
"""What is used of the TorchScript model."""


def model_fn(model_dir: str) -> Model:
    """Load the TorchScript model in ``model_dir``, its classes, and what tells them from other photographs.

    A class has name, latitude and longitude (None if unknown).
    """
    extra = {"classes.json": ""}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")  # deprecated, but the export is TorchScript
        model = torch.jit.load(str(Path(model_dir, "model.pt")), map_location="cpu", _extra_files=extra)
        # Freezing folds batch norm into the convolutions, which saves passes over the maps.
        frozen = torch.jit.freeze(model.eval(), preserved_attrs=PRESERVED)
    return frozen, json.loads(extra["classes.json"]), known.read(Path(model_dir, "known.npz"))


def input_fn(body: bytes, content_type: str) -> Item:
    """Return a request's photographs as uint8 (N, 3, H, W).

    image/*, application/x-image, application/octet-stream: one photograph, JPEG, PNG, WEBP, GIF, BMP, AVIF or HEIC.
    application/x-npy: a uint8 array (N, H, W, 3) as written by numpy.save.
    """
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if images.is_picture(kind):
        pixels = images.decode(body, MAX_PIXELS)[None]
    elif kind == "application/x-npy":
        pixels = _from_array(body)
    else:
        raise ValueError(f"content type {content_type!r} is not known: expected one of {', '.join(CONTENT_TYPES)}")
    if any(images.is_plain(photograph) for photograph in pixels):
        raise ValueError("a photograph has a single colour: expected a photograph of a landmark")
    several, evidence = "several=true" in parameters, "evidence=true" in parameters
    if not several and not evidence:
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)
    if (several and evidence) or len(pixels) > 1:
        raise ValueError("found several=true or evidence=true with more: expected one of them, and one photograph")
    if several:
        times = min(pixels.shape[1:3]) // WORKING
        if times > 1:  # else it would be copied, and a panorama has 70 MB
            pixels = np.array(Image.fromarray(pixels[0]).reduce(times))[None]
    return Asked(torch.from_numpy(pixels).permute(0, 3, 1, 2), several)


def _from_array(body: bytes) -> np.ndarray:
    pixels: np.ndarray = images.from_npy(body)
    if pixels.ndim != 4 or pixels.shape[3] != 3 or 0 in pixels.shape:
        raise ValueError(f"photographs of shape {pixels.shape}: expected (N, H, W, 3), each at least 1")
    count, height, width, _ = pixels.shape
    if count > MAX_PHOTOGRAPHS or max(height, width) > images.MAX_ASPECT * min(height, width):
        limits = f"at most {MAX_PHOTOGRAPHS}, and neither side more than {images.MAX_ASPECT} times the other"
        raise ValueError(f"photographs of shape {pixels.shape}: expected {limits}")
    return pixels


def ready_fn(data: Item, model: Model) -> Item:
    """Reduce a request's photographs, uint8 (N, 3, H, W), to their squares, uint8 (N, 3, S, S), which wait for a batch.

    All squares have one size, so photographs of any sizes form one batch, and no full photograph is kept waiting. Raise
    ValueError if a square has a single colour, though its photograph has several. Of a photograph with several landmarks
    such squares are left out.
    """
    network, *_ = model
    if isinstance(data, torch.Tensor):
        return _squares(data, network)
    height, width = data.images.shape[2:]
    sides = [width, height, width, height]
    if not data.several:
        half = network.part * min(height, width) / 2
        box = [width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half]
        return Asked(_squares(data.images, network), False, np.array([box]) / sides)
    found: list[NDArray[np.float64]] = []
    parts: list[torch.Tensor] = []
    for box in regions.propose(height, width):
        left, top, right, bottom = box
        part = data.images[:, :, top:bottom, left:right]
        part = part.contiguous(memory_format=torch.channels_last)  # resized three times as fast
        if not images.is_plain(part[0].permute(1, 2, 0).numpy()):  # the network would refuse it
            with torch.inference_mode():
                square = network.squares(part)
            if not images.is_plain(square[0].permute(1, 2, 0).numpy()):
                found.append(box / sides)
                parts.append(square)
    if not found:
        raise ValueError("every part of the photograph has a single colour: expected a photograph of landmarks")
    return Asked(torch.cat(parts), True, np.stack(found))


def _squares(photographs: torch.Tensor, network: torch.jit.ScriptModule) -> torch.Tensor:
    with torch.inference_mode():
        squares: torch.Tensor = network.squares(photographs)
    if any(images.is_plain(square) for square in squares.permute(0, 2, 3, 1).numpy()):
        raise ValueError("the middle of a photograph has a single colour: expected a photograph of a landmark")
    return squares


def batch_fn(items: list[Item], model: Model) -> list[Prediction]:
    """Return the predictions for several requests, whose squares (see `ready_fn`) are computed in one batch."""
    network, classes, arrays = model
    each = [item.images if isinstance(item, Asked) else item for item in items]
    with torch.inference_mode():
        parts = [network.inspect(part) for part in torch.cat(each).split(AT_A_TIME)]
        probabilities, features, logits = (torch.cat(each) for each in zip(*parts, strict=True))
    familiarity = torch.from_numpy(known.familiarity(arrays, features.numpy(), logits.numpy()))
    sizes = [len(one) for one in each]
    rows = zip(items, probabilities.split(sizes), familiarity.split(sizes), strict=True)
    return [_completed(item, Prediction(classes, *parts), network) for item, *parts in rows]


def _completed(item: Item, answer: Prediction, network: torch.jit.ScriptModule) -> Prediction:
    """Add what was asked for: of several landmarks those that were found, otherwise the evidence."""
    if isinstance(item, torch.Tensor) or item.boxes is None:
        return answer
    if item.several:
        # A part of a landmark may be surer than the whole of it: the side counts as much as the probability.
        sides = torch.from_numpy(np.sqrt((item.boxes[:, 2:] - item.boxes[:, :2]).prod(1)))
        scores = (answer.probabilities.amax(1) * sides).where(answer.familiarity >= 0, -1.0).numpy()
        kept = regions.keep(item.boxes, scores)
        return Prediction(answer.classes, answer.probabilities[kept], answer.familiarity[kept], item.boxes[kept])
    inputs = network.inputs(item.images.clone())  # a tensor of inference mode has no gradients
    # Without optimisation each operator is its own step, through which gradients reach the maps.
    with torch.enable_grad(), torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
        _, strength = saliency.evidence(network.logits_and_maps, inputs, answer.probabilities.argmax(1))
    cells = F.interpolate(strength[:, None], (CELLS, CELLS), mode="area")[:, 0]
    return answer._replace(boxes=item.boxes, evidence=cells)


def predict_fn(data: Item, model: Model) -> Prediction:
    """Return the prediction for the photographs that `input_fn` returned."""
    return batch_fn([ready_fn(data, model)], model)[0]


def output_fn(prediction: Prediction, accept: str) -> str:
    """Return the answer as JSON text."""
    if accept.split(";")[0].strip().lower() not in ("application/json", "*/*"):
        raise ValueError(f"cannot answer as {accept!r}: expected application/json")
    classes, probabilities, familiarity, boxes, evidence = prediction
    values, labels = probabilities.topk(min(5, len(classes)))
    top5 = [
        [
            {"class": classes[label]["name"], "probability": value} | {axis: classes[label][axis] for axis in PLACE}
            for value, label in zip(*row, strict=True)
        ]
        for row in zip(values.tolist(), labels.tolist(), strict=True)
    ]
    names = [place["name"] for place in classes]
    places = [[place[axis] for axis in PLACE] for place in classes]
    judged = {"known": (familiarity >= 0).tolist(), "familiarity": familiarity.tolist()}
    answer = {"classes": names, "places": places, "probabilities": probabilities.tolist(), **judged, "top5": top5}
    more = {name: one for name, one in (("boxes", boxes), ("evidence", evidence)) if one is not None}
    return json.dumps(answer | {name: np.asarray(one, np.float64).round(3).tolist() for name, one in more.items()})
