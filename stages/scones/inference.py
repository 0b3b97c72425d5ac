"""The functions that SageMaker's PyTorch inference image calls to serve the exported model.

The image provides torch, numpy and Pillow. From the project this module imports only `picture.py` and `known.py`, which
are in the same folder with `images.py`. A request contains one picture of any size. The answer is a JSON array with one probability per class, in
the order of data.scones.classes: `[p_bicycle, p_motorcycle]`. If the client accepts `application/json; verbose=true`,
as with some of SageMaker's own algorithms, the answer is `{"classes": ["bicycle", "motorcycle"], "probabilities":
[[p_bicycle, p_motorcycle]], "known": [true], "familiarity": [0.1]}`. A picture with a negative familiarity is not known:
it resembles none of the training pictures, and its probabilities mean nothing. Unreadable input is refused, see `refusal`.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import torch

try:
    import known  # type: ignore[import-not-found]
    import picture  # type: ignore[import-not-found]
except ImportError:  # in the project, not in the export
    from stages.common.vision import known
    from stages.scones.endpoint import picture

CONTENT_TYPES = picture.CONTENT_TYPES
"""Content types that `input_fn` reads."""

Model = tuple[torch.jit.ScriptModule, list[str], known.Arrays]
Prediction = tuple[list[str], torch.Tensor, torch.Tensor]


def model_fn(model_dir: str) -> Model:
    """Load the TorchScript model in ``model_dir``, the names of its classes, and what tells them from other pictures."""
    names = {"classes.json": ""}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")  # deprecated, but the export is TorchScript
        model = torch.jit.load(str(Path(model_dir, "model.pt")), map_location="cpu", _extra_files=names)
    return model.eval(), json.loads(names["classes.json"]), known.read(Path(model_dir, "known.npz"))


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
    """Return a request's picture as uint8 (1, H, W, 3)."""
    try:
        pixels = picture.read(body, content_type)
    except ValueError as error:
        raise refusal(str(error)) from None
    return torch.from_numpy(np.array(pixels))[None]  # a copy, because torch needs writable memory


def ready_fn(data: torch.Tensor, model: Model) -> torch.Tensor:
    """Return what the model sees of a request's picture, uint8 (1, side, side, 3): see `picture.squared`."""
    network, *_ = model
    try:
        seen = picture.squared(data[0].numpy(), network.side)
    except ValueError as error:
        raise refusal(str(error)) from None
    if picture.images.is_plain(seen):
        raise refusal("a picture with a single colour: expected a picture of a vehicle")
    return torch.from_numpy(seen)[None]


def batch_fn(items: list[torch.Tensor], model: Model) -> list[Prediction]:
    """Return the predictions for several requests, whose squares (see `ready_fn`) are computed in one batch."""
    network, classes, arrays = model
    with torch.inference_mode():
        probabilities, features, logits = network.inspect(torch.cat(items))
    familiarity = torch.from_numpy(known.familiarity(arrays, features.numpy(), logits.numpy()))
    sizes = [len(item) for item in items]
    return [(classes, *parts) for parts in zip(probabilities.split(sizes), familiarity.split(sizes), strict=True)]


def predict_fn(data: torch.Tensor, model: Model) -> Prediction:
    """Return class names, probabilities, float32 (1, classes), and familiarity, float64 (1), for what `input_fn` returned."""
    return batch_fn([ready_fn(data, model)], model)[0]


def output_fn(prediction: Prediction, accept: str) -> str:
    """Return the answer as JSON text: the probabilities only or, with verbose=true, an object, see above."""
    kind, *options = (part.strip().lower() for part in accept.split(";"))
    if kind not in ("application/json", "*/*"):
        raise refusal(f"cannot answer as {accept!r}: expected application/json")
    classes, probabilities, familiarity = prediction
    if "verbose=true" in options:
        judged = {"known": (familiarity >= 0).tolist(), "familiarity": familiarity.tolist()}
        return json.dumps({"classes": classes, "probabilities": probabilities.tolist(), **judged})
    return json.dumps(probabilities[0].tolist())
