"""The functions that SageMaker's PyTorch inference image calls to serve the exported model.

The image provides torch, numpy and Pillow. From the project this module imports only `images.py` and `known.py`, which
are in the same folder. A request contains one photograph as a file, or several of one size. The answer has one row per
photograph: `{"classes": ["hagia_sophia", ...], "places": [[41.0085, 28.98], ...], "probabilities": [[0.98, ...]],
"known": [true], "familiarity": [0.1], "top5": [[{"class": "hagia_sophia", "probability": 0.98, "latitude": 41.0085,
"longitude": 28.98}, ...]]}`. A photograph with a negative familiarity is not known: it resembles none of the training
photographs, and its probabilities mean nothing. Unreadable input raises ValueError.
"""

import io
import json
import warnings
from pathlib import Path

import numpy as np
import torch

try:
    import images
    import known  # type: ignore[import-not-found]
except ImportError:  # in the project, not in the export
    from stages.common.vision import images, known

MAX_PIXELS = 100_000_000
"""Largest number of pixels of a photograph, checked before it is decoded."""

MAX_PHOTOGRAPHS = 64
"""Largest number of photographs in a request. Each becomes a square, however small it is, and costs as much as any other."""

AT_A_TIME = 32
"""Photographs that the network gets at once, because their maps need memory."""

CONTENT_TYPES = (*images.CONTENT_TYPES, "application/x-npy")
"""Content types that `input_fn` reads."""

Model = tuple[torch.jit.ScriptModule, list[dict[str, object]], known.Arrays]
Prediction = tuple[list[dict[str, object]], torch.Tensor, torch.Tensor]


def model_fn(model_dir: str) -> Model:
    """Load the TorchScript model in ``model_dir``, its classes, and what tells them from other photographs.

    A class has name, latitude and longitude (None if unknown).
    """
    extra = {"classes.json": ""}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")  # deprecated, but the export is TorchScript
        model = torch.jit.load(str(Path(model_dir, "model.pt")), map_location="cpu", _extra_files=extra)
        # Freezing folds batch norm into the convolutions, which saves passes over the maps.
        frozen = torch.jit.freeze(model.eval(), preserved_attrs=["squares", "inspect"])
    return frozen, json.loads(extra["classes.json"]), known.read(Path(model_dir, "known.npz"))


def input_fn(body: bytes, content_type: str) -> torch.Tensor:
    """Return a request's photographs as uint8 (N, 3, H, W).

    image/*, application/x-image, application/octet-stream: one photograph, JPEG, PNG, WEBP, GIF, BMP, AVIF or HEIC.
    application/x-npy: a uint8 array (N, H, W, 3) as written by numpy.save.
    """
    kind = content_type.split(";")[0].strip().lower()
    if images.is_picture(kind):
        pixels = images.decode(body, MAX_PIXELS)[None]
    elif kind == "application/x-npy":
        pixels = _from_npy(body)
    else:
        raise ValueError(f"content type {content_type!r} is not known: expected one of {', '.join(CONTENT_TYPES)}")
    if any(images.is_plain(photograph) for photograph in pixels):
        raise ValueError("a photograph has a single colour: expected a photograph of a landmark")
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def _from_npy(body: bytes) -> np.ndarray:
    try:
        pixels = np.load(io.BytesIO(body), allow_pickle=False)
    except Exception:
        # For forged headers numpy raises ValueError, EOFError, OSError, IndexError, SyntaxError, TokenError, OverflowError,
        # MemoryError or BadZipFile.
        raise ValueError("the body is not a .npy file of numbers, as numpy.save writes it") from None
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        raise ValueError(f"values of type {getattr(pixels, 'dtype', 'npz')}: expected one array of uint8")
    if pixels.ndim != 4 or pixels.shape[3] != 3 or 0 in pixels.shape:
        raise ValueError(f"photographs of shape {pixels.shape}: expected (N, H, W, 3), each at least 1")
    count, height, width, _ = pixels.shape
    if count > MAX_PHOTOGRAPHS or max(height, width) > images.MAX_ASPECT * min(height, width):
        raise ValueError(
            f"photographs of shape {pixels.shape}: expected at most {MAX_PHOTOGRAPHS}, and neither side more than "
            f"{images.MAX_ASPECT} times the other"
        )
    return pixels


def ready_fn(data: torch.Tensor, model: Model) -> torch.Tensor:
    """Reduce a request's photographs, uint8 (N, 3, H, W), to their squares, uint8 (N, 3, S, S), which wait for a batch.

    All squares have one size, so photographs of any sizes form one batch, and no full photograph is kept waiting. Raise
    ValueError if a square has a single colour, though its photograph has several.
    """
    network, *_ = model
    with torch.inference_mode():
        squares: torch.Tensor = network.squares(data)
    if any(images.is_plain(square) for square in squares.permute(0, 2, 3, 1).numpy()):
        raise ValueError("the middle of a photograph has a single colour: expected a photograph of a landmark")
    return squares


def batch_fn(items: list[torch.Tensor], model: Model) -> list[Prediction]:
    """Return the predictions for several requests, whose squares (see `ready_fn`) are computed in one batch."""
    network, classes, arrays = model
    with torch.inference_mode():
        parts = [network.inspect(part) for part in torch.cat(items).split(AT_A_TIME)]
        probabilities, features, logits = (torch.cat(each) for each in zip(*parts, strict=True))
    familiarity = torch.from_numpy(known.familiarity(arrays, features.numpy(), logits.numpy()))
    sizes = [len(item) for item in items]
    return [(classes, *parts) for parts in zip(probabilities.split(sizes), familiarity.split(sizes), strict=True)]


def predict_fn(data: torch.Tensor, model: Model) -> Prediction:
    """Return the classes, the probabilities, float32 (N, classes), and the familiarity, float64 (N)."""
    return batch_fn([ready_fn(data, model)], model)[0]


def output_fn(prediction: Prediction, accept: str) -> str:
    """Return the answer as JSON text."""
    if accept.split(";")[0].strip().lower() not in ("application/json", "*/*"):
        raise ValueError(f"cannot answer as {accept!r}: expected application/json")
    classes, probabilities, familiarity = prediction
    values, labels = probabilities.topk(min(5, len(classes)))
    top5 = [
        [
            {
                "class": classes[label]["name"],
                "probability": value,
                "latitude": classes[label]["latitude"],
                "longitude": classes[label]["longitude"],
            }
            for value, label in zip(*row, strict=True)
        ]
        for row in zip(values.tolist(), labels.tolist(), strict=True)
    ]
    names = [place["name"] for place in classes]
    places = [[place["latitude"], place["longitude"]] for place in classes]
    judged = {"known": (familiarity >= 0).tolist(), "familiarity": familiarity.tolist()}
    answer = {"classes": names, "places": places, "probabilities": probabilities.tolist(), **judged, "top5": top5}
    return json.dumps(answer)
