"""The functions that SageMaker's PyTorch inference image calls to serve the exported model.

The image provides torch, numpy, scipy and Pillow. From the project this module imports only `images.py`, `isolation.py`,
`ink_areas.py`, `drawing.py` and `judging.py`, which are in the same folder, beside what these import. A request contains a
picture, in which the digit is found, or images of digits in MNIST's form: 28x28 pixels, light ink (255) on a dark background
(0). The answer is `{"classes": ["0", ...], "probabilities": [[p0, ..., p9], ...], "known": [true, ...], "familiarity": [3.1, ...]}`,
one row per image. An image with a negative familiarity is not known: it resembles no digit, and its probabilities mean
nothing. Unreadable input raises ValueError. A picture without a distinct digit, or whose digit is not known, raises
`ink_areas.NoDigitError`; one in MNIST's own form is answered unless it resembles a digit less than every validation image does.
"""

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
    import judging  # type: ignore[import-not-found]
except ImportError:  # in the project, not in the export
    from stages.common.vision import images
    from stages.mnist import drawing
    from stages.mnist.ink import ink_areas, isolation
    from stages.mnist.learning import judging

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

SEVERAL = ("several=true", "several=false")

SECOND, LIMITS = "second.pt", "limits.json"
"""Files of the model: the second network, and the limits that an image must reach (see `judging`): `odds` to be known, `least`
to be answered in MNIST's own form, and `certainty`."""


class Model(NamedTuple):
    """The classifier, the network that judges its answers, and the limits of both judgements."""

    network: torch.jit.ScriptModule
    second: torch.jit.ScriptModule
    classes: list[str]
    limits: dict[str, float]


class Picture(NamedTuple):
    """Digits of a picture, from left to right, in MNIST's form: uint8 (N, 28, 28).

    ``converted``: they had to be found in it, or it was not light ink on black.
    """

    images: torch.Tensor
    converted: bool


class Prediction(NamedTuple):
    """The classes, the probabilities, float32 (N, 10), and the familiarity, float64 (N)."""

    classes: list[str]
    probabilities: torch.Tensor
    familiarity: torch.Tensor


Item = torch.Tensor | Picture


def model_fn(model_dir: str) -> Model:
    """Load the TorchScript model in ``model_dir``, the names of its classes, the second network and the limits."""
    names = {"classes.json": ""}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")  # deprecated, but the export is TorchScript
        model = torch.jit.load(str(Path(model_dir, "model.pt")), map_location="cpu", _extra_files=names)
        # oneDNN's convolutions are fastest with channels last. Freezing folds batch norm into them.
        frozen = torch.jit.freeze(model.eval().to(memory_format=torch.channels_last))
        second = torch.jit.load(str(Path(model_dir, SECOND)), map_location="cpu").eval()
    return Model(frozen, second, json.loads(names["classes.json"]), json.loads(Path(model_dir, LIMITS).read_text()))


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
        if odd := [one for one in parameters if one.startswith("several=") and one not in SEVERAL]:
            raise ValueError(f"content type {content_type!r}: found {odd[0]}, expected several=true or several=false")
        return _from_picture(body, "several=true" in parameters)
    if kind == "application/x-npy":
        digits = images.from_npy(body)
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
    if drawing.light(digits).any():
        raise ValueError("an image has a light background: expected ink of up to 255 on 0, such as 255 - image")
    return torch.from_numpy(np.array(digits))  # a copy, because torch needs writable memory


def _from_picture(body: bytes, several: bool) -> Item:
    picture = images.reduced(body, MAX_PIXELS, WORKING)
    form = drawing.as_mnist(picture)
    if form is not None:
        return Picture(torch.from_numpy(form[None]), bool((picture[..., :3] != form[..., None]).any()))
    digits = [drawing.centred(ink) for ink in isolation.inks(picture)]
    if len(digits) > 1 and not several:
        raise ink_areas.NoDigitError(
            f"the picture has {len(digits)} digits: send them one by one, or with several=true to read all of them"
        )
    return Picture(torch.from_numpy(np.stack(digits)), True)


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
    """Return the predictions for several requests, computed together. An error stands in place of a refused one."""
    each = [item.images if isinstance(item, Picture) else item for item in items]
    with torch.inference_mode():
        parts = torch.cat(each).split(AT_A_TIME)
        together = torch.cat([model.network(part) for part in parts])
        opinions = torch.cat([model.second(part) for part in parts]).numpy()
    familiarity = torch.from_numpy(judging.odds(opinions) - model.limits["odds"])
    certain = torch.from_numpy(judging.certainty(together.numpy(), opinions) >= model.limits["certainty"])
    sizes = [len(one) for one in each]
    least = model.limits["least"] - model.limits["odds"]
    rows = zip(items, *(values.split(sizes) for values in (together, familiarity, certain)), strict=True)
    return [_checked(item, Prediction(model.classes, *parts), sure, least) for item, *parts, sure in rows]


def _checked(
    item: Item, answer: Prediction, certain: torch.Tensor, least: float
) -> Prediction | ink_areas.NoDigitError:
    """Return the prediction, or an error if a digit of a picture is unknown or uncertain. Arrays are only marked.

    A picture in MNIST's own form is only marked, too, if its familiarity is at least ``least``.
    """
    if isinstance(item, torch.Tensor):
        return answer
    known = answer.familiarity >= (0 if item.converted else least)
    sound = known & certain if item.converted else known
    if bool(sound.all()):
        return answer
    index = int(sound.int().argmin())
    digit = answer.classes[int(answer.probabilities[index].argmax())]
    words = UNLIKE if not bool(known[index]) else UNCERTAIN.format(digit)
    return ink_areas.NoDigitError(
        words if len(sound) == 1 else f"{words} (number {index + 1} of {len(sound)} from the left)"
    )


UNLIKE = (
    "the drawing looks like none of the digits that the model has learnt: expected one handwritten digit from 0 to 9"
)
UNCERTAIN = "the drawing is not clearly one of the digits: it is most like {}, but two networks do not agree on it"


def predict_fn(data: Item, model: Model) -> Prediction:
    """Return the prediction for a request. Raises `ink_areas.NoDigitError`."""
    answer = batch_fn([data], model)[0]
    if isinstance(answer, ink_areas.NoDigitError):
        raise answer
    return answer


def output_fn(prediction: Prediction, accept: str) -> str:
    """Return the answer as JSON text."""
    if accept.split(";")[0].strip().lower() not in ("application/json", "*/*"):
        raise ValueError(f"cannot answer as {accept!r}: expected application/json")
    classes, probabilities, familiarity = prediction
    judged = {"known": (familiarity >= 0).tolist(), "familiarity": familiarity.tolist()}
    return json.dumps({"classes": classes, "probabilities": probabilities.tolist(), **judged})
