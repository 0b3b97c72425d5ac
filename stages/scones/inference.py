"""What runs beside the exported model in SageMaker's PyTorch inference image: its four functions.

It imports nothing of the project that made it but `images.py`, which lies beside it: torch, numpy and Pillow are there. A
request carries one picture of 32x32 pixels; the answer is a JSON array with a probability for each class, in the order of
data.scones.classes: `[p_bicycle, p_motorcycle]`. Who accepts `application/json; verbose=true`, as of some of SageMaker's
own algorithms, gets `{"classes": ["bicycle", "motorcycle"], "probabilities": [[p_bicycle, p_motorcycle]]}`. What can't be
read is refused, see `refusal`.
"""

import json
import warnings
from pathlib import Path

import torch

try:
    import images
except ImportError:  # in the project itself, where the export takes this file from
    from stages.common.vision import images

SIDE = 32  # pixels
MAX_PIXELS = 1_000_000
"""Beyond which a picture isn't even decoded."""

CONTENT_TYPES = ("image/*", "application/octet-stream")
"""What `input_fn` reads."""

Model = tuple[torch.jit.ScriptModule, list[str]]
Prediction = tuple[list[str], torch.Tensor]


def model_fn(model_dir: str) -> Model:
    """The TorchScript model in ``model_dir`` and the names of its classes."""
    names = {"classes.json": ""}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")  # they are deprecated, but this export is a TorchScript file
        model = torch.jit.load(str(Path(model_dir, "model.pt")), map_location="cpu", _extra_files=names)
    return model.eval(), json.loads(names["classes.json"])


def refusal(message: str) -> Exception:
    """What to raise for a request at fault, so that the answer is HTTP 400: ValueError, or SageMaker's own error in its image.

    There all other errors are HTTP 500, which says that another try may help.
    """
    try:
        from sagemaker_inference.errors import BaseInferenceToolkitError  # type: ignore[import-not-found]
    except ImportError:
        return ValueError(message)
    error: Exception = BaseInferenceToolkitError(400, message, "Bad Request")
    return error


def input_fn(body: bytes, content_type: str) -> torch.Tensor:
    """A request's picture as uint8 (1, 32, 32, 3)."""
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
    return torch.from_numpy(picture)[None]


def batch_fn(items: list[torch.Tensor], model: Model) -> list[Prediction]:
    """The predictions for several requests, whose pictures go through the network together."""
    network, classes = model
    with torch.inference_mode():
        probabilities = network(torch.cat(items))
    return [(classes, part) for part in probabilities.split([len(item) for item in items])]


def predict_fn(data: torch.Tensor, model: Model) -> Prediction:
    """Class names and probabilities float32 (1, classes)."""
    return batch_fn([data], model)[0]


def output_fn(prediction: Prediction, accept: str) -> str:
    """The answer as JSON text: the probabilities alone, or with verbose=true those of all pictures and the classes' names."""
    kind, *options = (part.strip().lower() for part in accept.split(";"))
    if kind not in ("application/json", "*/*"):
        raise refusal(f"an answer of type {accept!r} can't be given: expected application/json")
    classes, probabilities = prediction
    if "verbose=true" in options:
        return json.dumps({"classes": classes, "probabilities": probabilities.tolist()})
    return json.dumps(probabilities[0].tolist())
