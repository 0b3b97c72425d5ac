"""What runs beside the exported model in SageMaker's PyTorch inference image: its four functions.

It imports nothing of the project that made it: torch, numpy and Pillow are there. A request carries images of digits,
light ink (255) on a dark background (0), 28x28 pixels; the answer is
`{"classes": ["0", ...], "probabilities": [[p0, ..., p9], ...]}`, a row an image. What can't be read raises ValueError.
"""

import io
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

SIDE = 28  # pixels


def model_fn(model_dir: str) -> tuple[torch.jit.ScriptModule, list[str]]:
    """The TorchScript model in ``model_dir`` and the names of its classes."""
    names = {"classes.json": ""}
    model = torch.jit.load(str(Path(model_dir, "model.pt")), map_location="cpu", _extra_files=names)
    return model.eval(), json.loads(names["classes.json"])


def input_fn(body: bytes, content_type: str) -> torch.Tensor:
    """A request's images as uint8 (N, 28, 28).

    image/png: one grey image. application/x-npy: an uint8 array (N, 28, 28) as numpy.save writes it.
    application/json: {"images": nested lists of whole numbers from 0 to 255}.
    """
    kind = content_type.split(";")[0].strip().lower()
    readers = {"image/png": _from_png, "application/x-npy": _from_npy, "application/json": _from_json}
    if kind not in readers:
        raise ValueError(f"content type {content_type!r} is not known: expected one of {', '.join(readers)}")
    images = readers[kind](body)
    if images.ndim != 3 or images.shape[1:] != (SIDE, SIDE) or len(images) == 0:
        raise ValueError(f"images of shape {images.shape}: expected (N, {SIDE}, {SIDE}), N at least 1")
    return torch.from_numpy(np.array(images))  # a copy, as torch wants to be able to write to it


def _from_png(body: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(body), formats=["PNG"]) as image:
            if image.size != (SIDE, SIDE):
                raise ValueError(f"an image of {image.width}x{image.height} pixels: expected {SIDE}x{SIDE}")
            if image.mode not in ("L", "1"):
                raise ValueError(f"an image of mode {image.mode}: expected 8-bit grey")
            return np.asarray(image.convert("L"))[None]
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow raises for a damaged file
        raise ValueError(f"the body is not a PNG image: {error}") from None


def _from_npy(body: bytes) -> np.ndarray:
    try:
        images = np.load(io.BytesIO(body), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"the body is not a .npy file: {error}") from None
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        raise ValueError(f"values of type {getattr(images, 'dtype', 'npz')}: expected one array of uint8")
    return images


def _from_json(body: bytes) -> np.ndarray:
    try:
        images = np.array(json.loads(body)["images"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'the body is not JSON of the form {{"images": [...]}}: {error}') from None
    if images.dtype.kind not in "iu" or (images.size and (images.min() < 0 or images.max() > 255)):
        raise ValueError("pixels are expected to be whole numbers from 0 to 255")
    return images.astype(np.uint8)


def predict_fn(data: torch.Tensor, model: tuple[torch.jit.ScriptModule, list[str]]) -> tuple[list[str], torch.Tensor]:
    """Class names and probabilities float32 (N, 10)."""
    network, classes = model
    with torch.inference_mode():
        return classes, network(data)


def output_fn(prediction: tuple[list[str], torch.Tensor], accept: str) -> str:
    """The answer as JSON text."""
    if accept.split(";")[0].strip().lower() not in ("application/json", "*/*"):
        raise ValueError(f"an answer of type {accept!r} can't be given: expected application/json")
    classes, probabilities = prediction
    return json.dumps({"classes": classes, "probabilities": probabilities.tolist()})
