"""The functions that SageMaker's PyTorch inference image calls to serve the exported model.

The image provides torch, numpy and Pillow. From the project this module imports only `images.py`, which is in the same
folder. A request contains one picture of 32x32 pixels. The answer is a JSON array with one probability per class, in
the order of data.scones.classes: `[p_bicycle, p_motorcycle]`. If the client accepts `application/json; verbose=true`,
as with some of SageMaker's own algorithms, the answer is `{"classes": ["bicycle", "motorcycle"], "probabilities":
[[p_bicycle, p_motorcycle]]}`. Unreadable input is refused, see `refusal`.
"""

import json
import warnings
from pathlib import Path

import torch

try:
    import images
except ImportError:  # in the project, not in the export
    from stages.common.vision import images

SIDE = 32  # pixels
MAX_PIXELS = 1_000_000
"""Largest number of pixels of a picture, checked before it is decoded."""

CONTENT_TYPES = ("image/*", "application/octet-stream")
"""Content types that `input_fn` reads."""

Model = tuple[torch.jit.ScriptModule, list[str]]
Prediction = tuple[list[str], torch.Tensor]


def model_fn(model_dir: str) -> Model:
    """Load the TorchScript model in ``model_dir`` and the names of its classes."""
    names = {"classes.json": ""}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")  # deprecated, but the export is TorchScript
        model = torch.jit.load(str(Path(model_dir, "model.pt")), map_location="cpu", _extra_files=names)
    return model.eval(), json.loads(names["classes.json"])


def refusal(message: str) -> Exception:
    """Return the exception to raise for an invalid request, so that the answer is HTTP 400.

    It is ValueError, or SageMaker's own error in its image. There all other errors become HTTP 500, which suggests a
    retry.
    """
    try:
        from sagemaker_inference.errors import BaseInferenceToolkitError  # type: ignore[import-not-found]
    except ImportError:
        return ValueError(message)
    error: Exception = BaseInferenceToolkitError(400, message, "Bad Request")
    return error


def input_fn(body: bytes, content_type: str) -> torch.Tensor:
    """Return a request's picture as uint8 (1, 32, 32, 3)."""
    kind = content_type.split(";")[0].strip().lower()
    if not kind.startswith("image/") and kind not in CONTENT_TYPES:
        raise refusal(f"content type {content_type!r} is not known: expected {', '.join(CONTENT_TYPES)}")
    try:
        picture = images.decode(body, MAX_PIXELS)
    except images.ImageError as error:
        raise refusal(str(error)) from None
    height, width, _ = picture.shape
    if (height, width) != (SIDE, SIDE):
        raise refusal(f"a picture of {width}x{height} pixels: expected {SIDE}x{SIDE}")
    if images.is_plain(picture):
        raise refusal("a picture with a single colour: expected a picture of a vehicle")
    return torch.from_numpy(picture)[None]


def batch_fn(items: list[torch.Tensor], model: Model) -> list[Prediction]:
    """Return the predictions for several requests, computed in one batch."""
    network, classes = model
    with torch.inference_mode():
        probabilities = network(torch.cat(items))
    return [(classes, part) for part in probabilities.split([len(item) for item in items])]


def predict_fn(data: torch.Tensor, model: Model) -> Prediction:
    """Return class names and probabilities, float32 (1, classes)."""
    return batch_fn([data], model)[0]


def output_fn(prediction: Prediction, accept: str) -> str:
    """Return the answer as JSON text: the probabilities only or, with verbose=true, all pictures' probabilities and the class names."""
    kind, *options = (part.strip().lower() for part in accept.split(";"))
    if kind not in ("application/json", "*/*"):
        raise refusal(f"cannot answer as {accept!r}: expected application/json")
    classes, probabilities = prediction
    if "verbose=true" in options:
        return json.dumps({"classes": classes, "probabilities": probabilities.tolist()})
    return json.dumps(probabilities[0].tolist())
