"""What runs beside the exported model in SageMaker's PyTorch inference image: its four functions.

It imports nothing of the project that made it but `images.py`, which lies beside it: torch, numpy and Pillow are there. A
request carries one picture of 32x32 pixels; the answer is a JSON array with a probability for each class, in the order of
data.scones.classes: `[p_bicycle, p_motorcycle]`. What can't be read is refused, see `refusal`.
"""

import json
from pathlib import Path

import torch

try:
    import images
except ImportError:  # in the project itself, where the export takes this file from
    from stages.common import images

SIDE = 32  # pixels
MAX_PIXELS = 1_000_000
"""Beyond which a picture isn't even decoded."""


def model_fn(model_dir: str) -> torch.jit.ScriptModule:
    """The TorchScript model in ``model_dir``."""
    model: torch.jit.ScriptModule = torch.jit.load(str(Path(model_dir, "model.pt")), map_location="cpu").eval()
    return model


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
    """A request's picture, of type image/*, as uint8 (1, 32, 32, 3)."""
    if not content_type.strip().lower().startswith("image/"):
        raise refusal(f"content type {content_type!r} is not known: expected image/png")
    try:
        picture = images.decode(body, MAX_PIXELS)
    except images.ImageError as error:
        raise refusal(str(error)) from None
    height, width, _ = picture.shape
    if (height, width) != (SIDE, SIDE):
        raise refusal(f"a picture of {width}x{height} pixels: expected {SIDE}x{SIDE}")
    return torch.from_numpy(picture)[None]


def predict_fn(data: torch.Tensor, model: torch.jit.ScriptModule) -> torch.Tensor:
    """Probabilities float32 (1, classes)."""
    with torch.inference_mode():
        probabilities: torch.Tensor = model(data)
    return probabilities


def output_fn(prediction: torch.Tensor, accept: str) -> str:
    """The answer as JSON text."""
    if accept.split(";")[0].strip().lower() not in ("application/json", "*/*"):
        raise refusal(f"an answer of type {accept!r} can't be given: expected application/json")
    return json.dumps(prediction[0].tolist())
