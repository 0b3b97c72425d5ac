"""What runs beside the exported model in SageMaker's PyTorch inference image: its four functions.

It imports nothing of the project that made it but `images.py` and `drawing.py`, which lie beside it: torch, numpy and
Pillow are there. A request carries a picture of a digit, or images of digits as MNIST has them: 28x28 pixels, light ink
(255) on a dark ground (0). The answer is `{"classes": ["0", ...], "probabilities": [[p0, ..., p9], ...]}`, a row an image.
What can't be read raises ValueError.
"""

import io
import json
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image

try:
    import drawing  # type: ignore[import-not-found]
    import images
except ImportError:  # in the project itself, where the export takes this file from
    from stages.common.vision import images
    from stages.mnist import drawing

SIDE = 28  # pixels
MAX_PIXELS = 25_000_000
"""Of a picture, before it is decoded."""

MAX_IMAGES = 10_000
"""Of a request: each takes a hundred times its size in a convolution."""

CONTENT_TYPES = ("image/*", "application/octet-stream", "application/x-npy", "application/json")
"""What `input_fn` reads."""

Model = tuple[torch.jit.ScriptModule, list[str]]
Prediction = tuple[list[str], torch.Tensor]


def model_fn(model_dir: str) -> Model:
    """The TorchScript model in ``model_dir`` and the names of its classes."""
    names = {"classes.json": ""}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")  # they are deprecated, but this export is a TorchScript file
        model = torch.jit.load(str(Path(model_dir, "model.pt")), map_location="cpu", _extra_files=names)
        # Channels last is the layout that oneDNN's convolutions are fastest with; freezing folds batch norm into them.
        frozen = torch.jit.freeze(model.eval().to(memory_format=torch.channels_last))
    return frozen, json.loads(names["classes.json"])


def input_fn(body: bytes, content_type: str) -> torch.Tensor:
    """A request's images as uint8 (N, 28, 28).

    image/*, application/octet-stream: one picture, JPEG, PNG, WEBP, GIF or BMP; of 28x28 pixels it is taken as it is, of
    another size it is a drawing, see `drawing.centred`. application/x-npy: an uint8 array (N, 28, 28) as numpy.save writes
    it. application/json: {"images": nested lists of whole numbers from 0 to 255}.
    """
    kind = content_type.split(";")[0].strip().lower()
    if kind.startswith("image/") or kind == "application/octet-stream":
        digits = _from_picture(body)
    elif kind == "application/x-npy":
        digits = _from_npy(body)
    elif kind == "application/json":
        digits = _from_json(body)
    else:
        raise ValueError(f"content type {content_type!r} is not known: expected one of {', '.join(CONTENT_TYPES)}")
    if digits.ndim != 3 or digits.shape[1:] != (SIDE, SIDE) or len(digits) == 0:
        raise ValueError(f"images of shape {digits.shape}: expected (N, {SIDE}, {SIDE}), N at least 1")
    if len(digits) > MAX_IMAGES:
        raise ValueError(f"{len(digits)} images: expected {MAX_IMAGES} at most")
    return torch.from_numpy(np.array(digits))  # a copy, as torch wants to be able to write to it


def _from_picture(body: bytes) -> np.ndarray:
    colours = images.decode(body, MAX_PIXELS)
    grey = np.asarray(Image.fromarray(colours).convert("L"))  # leaves what is grey as it is
    return (grey if grey.shape == (SIDE, SIDE) else drawing.centred(grey))[None]


def _from_npy(body: bytes) -> np.ndarray:
    try:
        digits = np.load(io.BytesIO(body), allow_pickle=False)
    except Exception as error:
        # Broad on purpose: headers that are made up make numpy raise ValueError, EOFError, OSError, IndexError, SyntaxError,
        # TokenError, OverflowError, MemoryError, BadZipFile.
        raise ValueError(f"the body is not a .npy file: {error}") from None
    if not isinstance(digits, np.ndarray) or digits.dtype != np.uint8:
        raise ValueError(f"values of type {getattr(digits, 'dtype', 'npz')}: expected one array of uint8")
    return digits


def _from_json(body: bytes) -> np.ndarray:
    try:
        digits = np.array(json.loads(body)["images"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f'the body is not JSON of the form {{"images": [...]}}: {error}') from None
    if digits.dtype.kind not in "iu" or (digits.size and (digits.min() < 0 or digits.max() > 255)):
        raise ValueError("pixels are expected to be whole numbers from 0 to 255")
    return digits.astype(np.uint8)


def batch_fn(items: list[torch.Tensor], model: Model) -> list[Prediction]:
    """The predictions for several requests, whose images go through the network together."""
    network, classes = model
    with torch.inference_mode():
        probabilities = network(torch.cat(items))
    return [(classes, part) for part in probabilities.split([len(item) for item in items])]


def predict_fn(data: torch.Tensor, model: Model) -> Prediction:
    """Class names and probabilities float32 (N, 10)."""
    return batch_fn([data], model)[0]


def output_fn(prediction: Prediction, accept: str) -> str:
    """The answer as JSON text."""
    if accept.split(";")[0].strip().lower() not in ("application/json", "*/*"):
        raise ValueError(f"an answer of type {accept!r} can't be given: expected application/json")
    classes, probabilities = prediction
    return json.dumps({"classes": classes, "probabilities": probabilities.tolist()})
