"""The functions that SageMaker's PyTorch inference image calls to serve the exported model.

The image provides torch, numpy and Pillow. From the project this module imports only `images.py` and `drawing.py`,
which are in the same folder. A request contains a picture of a digit, or images of digits in MNIST's form: 28x28
pixels, light ink (255) on a dark background (0). The answer is `{"classes": ["0", ...], "probabilities": [[p0, ...,
p9], ...]}`, one row per image. Unreadable input raises ValueError.
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
    import isolation
except ImportError:  # in the project, not in the export
    from stages.common.vision import images
    from stages.mnist import drawing, isolation

SIDE = 28  # pixels
MAX_PIXELS = 25_000_000
"""Largest number of pixels of a picture, checked before it is decoded."""

WORK = 320
MAX_IMAGES = 10_000
"""Largest number of images in a request. Convolutions need a hundred times an image's size in memory."""

CONTENT_TYPES = ("image/*", "application/octet-stream", "application/x-npy", "application/json")
"""Content types that `input_fn` reads."""

Model = tuple[torch.jit.ScriptModule, list[str]]
Prediction = tuple[list[str], torch.Tensor]


def model_fn(model_dir: str) -> Model:
    """Load the TorchScript model in ``model_dir`` and the names of its classes."""
    names = {"classes.json": ""}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")  # deprecated, but the export is TorchScript
        model = torch.jit.load(str(Path(model_dir, "model.pt")), map_location="cpu", _extra_files=names)
        # oneDNN's convolutions are fastest with channels last. Freezing folds batch norm into them.
        frozen = torch.jit.freeze(model.eval().to(memory_format=torch.channels_last))
    return frozen, json.loads(names["classes.json"])


def input_fn(body: bytes, content_type: str) -> torch.Tensor:
    """Return a request's images as uint8 (N, 28, 28).

    image/*, application/octet-stream: one picture, JPEG, PNG, WEBP, GIF or BMP. A picture of 28x28 pixels is used unchanged, any other
    is converted as a drawing, see `drawing.centred`.
    application/x-npy: a uint8 array (N, 28, 28) as written by numpy.save.
    application/json: {"images": nested lists of whole numbers from 0 to 255}.
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
    return torch.from_numpy(np.array(digits))  # a copy, because torch needs writable memory


def _from_picture(body: bytes) -> np.ndarray:
    picture = images.reduced(body, MAX_PIXELS, WORK)
    if (form := drawing.as_mnist(picture)) is not None:
        return form[None]
    digits = [drawing.centred(ink) for ink in isolation.inks(picture)]
    if len(digits) > 1:
        raise isolation.NoDigit(f"the picture has {len(digits)} digits")
    return np.stack(digits)


def _from_npy(body: bytes) -> np.ndarray:
    try:
        digits = np.load(io.BytesIO(body), allow_pickle=False)
    except Exception as error:
        # For forged headers numpy raises ValueError, EOFError, OSError, IndexError, SyntaxError, TokenError, OverflowError,
        # MemoryError or BadZipFile.
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
    """Return the predictions for several requests, computed in one batch."""
    network, classes = model
    with torch.inference_mode():
        probabilities = network(torch.cat(items))
    return [(classes, part) for part in probabilities.split([len(item) for item in items])]


def predict_fn(data: torch.Tensor, model: Model) -> Prediction:
    """Return class names and probabilities, float32 (N, 10)."""
    return batch_fn([data], model)[0]


def output_fn(prediction: Prediction, accept: str) -> str:
    """Return the answer as JSON text."""
    if accept.split(";")[0].strip().lower() not in ("application/json", "*/*"):
        raise ValueError(f"cannot answer as {accept!r}: expected application/json")
    classes, probabilities = prediction
    return json.dumps({"classes": classes, "probabilities": probabilities.tolist()})
