"""The functions that SageMaker's PyTorch inference image calls to serve the exported model.

The image provides torch, numpy, scipy and Pillow. From the project this module imports only `images.py`, `isolation.py`, `ink_areas.py` and
`drawing.py`, which are in the same folder. A request contains a picture, in which the digit is found, or images of digits in
MNIST's form: 28x28 pixels, light ink (255) on a dark background (0). The answer is `{"classes": ["0", ...],
"probabilities": [[p0, ..., p9], ...]}`, one row per image. Unreadable input raises ValueError. A picture in which no digit
can be told raises `ink_areas.NoDigitError`.
"""

import io
import json
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

try:
    import drawing  # type: ignore[import-not-found]
    import images
    import ink_areas  # type: ignore[import-not-found]
    import isolation  # type: ignore[import-not-found]
except ImportError:  # in the project, not in the export
    from stages.common.vision import images
    from stages.mnist import drawing, ink_areas, isolation

SIDE = 28  # pixels
MAX_PIXELS = 25_000_000
"""Largest number of pixels of a picture, checked before it is decoded."""

WORKING = 320
"""Pixels of the longer side of the reduced picture in which digits are looked for."""

MAX_IMAGES = 10_000
"""Largest number of images in a request. Convolutions need a hundred times an image's size in memory."""

AT_A_TIME = 1000
"""Images that the network gets at once, for the same reason."""

CONTENT_TYPES = (*images.CONTENT_TYPES, "application/x-npy", "application/json")
"""Content types that `input_fn` reads."""

LIMITS = "limits.json"
"""File of the model with `least_probability`. Without it no answer is refused."""


class Model(NamedTuple):
    """``least_probability``: a picture whose most likely digit has less is refused."""

    network: torch.jit.ScriptModule
    classes: list[str]
    least_probability: float


class Isolated(NamedTuple):
    """Digits that were found in a picture, from left to right, in MNIST's form: uint8 (N, 28, 28)."""

    images: torch.Tensor


Item = torch.Tensor | Isolated
Prediction = tuple[list[str], torch.Tensor]


def model_fn(model_dir: str) -> Model:
    """Load the TorchScript model in ``model_dir``, the names of its classes and its limit."""
    names = {"classes.json": ""}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")  # deprecated, but the export is TorchScript
        model = torch.jit.load(str(Path(model_dir, "model.pt")), map_location="cpu", _extra_files=names)
        # oneDNN's convolutions are fastest with channels last. Freezing folds batch norm into them.
        frozen = torch.jit.freeze(model.eval().to(memory_format=torch.channels_last))
    limits = Path(model_dir, LIMITS)
    least = json.loads(limits.read_text())["least_probability"] if limits.is_file() else 0.0
    return Model(frozen, json.loads(names["classes.json"]), least)


def input_fn(body: bytes, content_type: str) -> Item:
    """Return a request's images as uint8 (N, 28, 28).

    image/*, application/x-image, application/octet-stream: a picture of one digit, JPEG, PNG, WEBP, GIF, BMP, AVIF or HEIC.
    A picture in MNIST's form is used unchanged, see `drawing.as_mnist`. In any other the digit is found, see
    `isolation.inks`. With the parameter `several=true` a picture may have several digits: `image/png; several=true`.
    application/x-npy: a uint8 array (N, 28, 28) as written by numpy.save.
    application/json: {"images": nested lists of whole numbers from 0 to 255}.
    """
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if images.is_picture(kind):
        return _from_picture(body, "several=true" in parameters)
    if kind == "application/x-npy":
        digits = _from_npy(body)
    elif kind == "application/json":
        digits = _from_json(body)
    else:
        raise ValueError(f"content type {content_type!r} is not known: expected one of {', '.join(CONTENT_TYPES)}")
    if digits.ndim != 3 or digits.shape[1:] != (SIDE, SIDE) or len(digits) == 0:
        raise ValueError(f"images of shape {digits.shape}: expected (N, {SIDE}, {SIDE}), N at least 1")
    if len(digits) > MAX_IMAGES:
        raise ValueError(f"{len(digits)} images: expected {MAX_IMAGES} at most")
    if any(images.is_plain(digit) for digit in digits):
        raise ValueError("an image is blank: expected ink of up to 255 on a background of 0")
    return torch.from_numpy(np.array(digits))  # a copy, because torch needs writable memory


def _from_picture(body: bytes, several: bool) -> Item:
    picture = images.reduced(body, MAX_PIXELS, WORKING)
    form = drawing.as_mnist(picture)
    if form is not None:
        return torch.from_numpy(form[None])
    digits = [drawing.centred(ink) for ink in isolation.inks(picture)]
    if len(digits) > 1 and not several:
        raise ink_areas.NoDigitError(
            f"the picture has {len(digits)} digits: send them one by one, or with several=true to read all of them"
        )
    return Isolated(torch.from_numpy(np.stack(digits)))


def _from_npy(body: bytes) -> np.ndarray:
    try:
        digits = np.load(io.BytesIO(body), allow_pickle=False)
    except Exception:
        # For forged headers numpy raises ValueError, EOFError, OSError, IndexError, SyntaxError, TokenError, OverflowError,
        # MemoryError or BadZipFile.
        raise ValueError("the body is not a .npy file of numbers, as numpy.save writes it") from None
    if not isinstance(digits, np.ndarray) or digits.dtype != np.uint8:
        raise ValueError(f"values of type {getattr(digits, 'dtype', 'npz')}: expected one array of uint8")
    return digits


def _from_json(body: bytes) -> np.ndarray:
    form = f'JSON of the form {{"images": [...]}}, each image {SIDE} lists of {SIDE} numbers'
    try:
        digits = json.loads(body)["images"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"the body is not {form}") from None
    # Checked before there is an array: numpy would make one of any lists, at many times their size.
    if type(digits) is not list or not 0 < len(digits) <= MAX_IMAGES:
        raise ValueError(f"the body is not {form}: expected at least 1 image and {MAX_IMAGES} at most")
    for number, digit in enumerate(digits):
        if not _is_square(digit):
            raise ValueError(f"the body is not {form}: image {number} is not")
    try:
        pixels = b"".join([bytes(row) for digit in digits for row in digit])
    except (ValueError, TypeError):
        raise ValueError("pixels are expected to be whole numbers from 0 to 255") from None
    return np.frombuffer(pixels, np.uint8).reshape(len(digits), SIDE, SIDE)


def _is_square(digit: object) -> bool:
    return type(digit) is list and len(digit) == SIDE and all(type(row) is list and len(row) == SIDE for row in digit)


def batch_fn(items: list[Item], model: Model) -> list[Prediction | ink_areas.NoDigitError]:
    """Return the predictions for several requests, computed together, or why there is none."""
    each = [item.images if isinstance(item, Isolated) else item for item in items]
    with torch.inference_mode():
        together = torch.cat([model.network(part) for part in torch.cat(each).split(AT_A_TIME)])
    answers = together.split([len(one) for one in each])
    return [_checked(answer, item, model) for answer, item in zip(answers, items, strict=True)]


def _checked(probabilities: torch.Tensor, item: Item, model: Model) -> Prediction | ink_areas.NoDigitError:
    """Return the prediction, or an error if a digit of a picture is unlike those that the model has learnt."""
    likely, places = probabilities.max(1)
    if isinstance(item, Isolated) and float(likely.min()) < model.least_probability:
        digit = model.classes[int(places[likely.argmin()])]
        return ink_areas.NoDigitError(
            f"what is drawn is not clearly one of the digits: the most likely, {digit}, has a probability of "
            f"{float(likely.min()):.2f}, expected {model.least_probability:.2f} or more"
        )
    return model.classes, probabilities


def predict_fn(data: Item, model: Model) -> Prediction:
    """Return class names and probabilities, float32 (N, 10). Raises `ink_areas.NoDigitError`."""
    answer = batch_fn([data], model)[0]
    if isinstance(answer, ink_areas.NoDigitError):
        raise answer
    return answer


def output_fn(prediction: Prediction, accept: str) -> str:
    """Return the answer as JSON text."""
    if accept.split(";")[0].strip().lower() not in ("application/json", "*/*"):
        raise ValueError(f"cannot answer as {accept!r}: expected application/json")
    classes, probabilities = prediction
    return json.dumps({"classes": classes, "probabilities": probabilities.tolist()})
