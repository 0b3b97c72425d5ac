"""What tests of a deployment share: tiny models, pictures of one colour, captured records, settings, and patience."""

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import model_servers
from conftest import ROOT
from pictures import saved
from PIL import Image

from stages.common import config
from stages.scones.config import WorkflowSettings, workflow_settings

INFERENCE = """
import io, json, time
from PIL import Image

def model_fn(model_dir):
    return None

def input_fn(body, content_type):
    if content_type not in ("image/png", "application/x-image"):
        raise ValueError(f"content type {content_type}: expected image/png")
    try:
        return Image.open(io.BytesIO(body)).convert("RGB").getpixel((0, 0))
    except OSError as error:
        raise ValueError(f"the body is not a PNG image: {error}")

def predict_fn(colour, model):
    red, green, blue = colour
    if green == 1:
        raise RuntimeError("the network is broken")
    if green == 2:
        time.sleep(3)
    return [red / 255, 1 - red / 255], green != 3

def output_fn(prediction, accept):
    probabilities, known = prediction
    if known or "verbose=true" not in accept:
        return json.dumps(probabilities)
    return json.dumps({"classes": ["a", "b"], "probabilities": [probabilities], "known": [known]})
"""

STEADY = """
import time
from pathlib import Path

def model_fn(folder): {load}
def input_fn(body, content_type): return body
def predict_fn(body, model): {before}
def output_fn(prediction, accept): return "{answer}"

def hold(folder, name):
    Path(folder, name).touch()
    while Path(folder, "held").exists():
        time.sleep(0.01)
"""

BROKEN, SLOW, UNKNOWN = 1, 2, 3
"""Values of green at which the model fails, takes 3 s, or answers that it doesn't know such pictures."""


def archive(folder: Path, inference: str = INFERENCE) -> Path:
    """A model that is as sure of class 0 as the picture is red."""
    return model_servers.archive(folder, inference)


def steady(folder: Path, answer: list[float], load: str = "pass", before: str = "pass") -> Path:
    """A model with the same ``answer`` to anything. It runs ``load`` once, and ``before`` each answer, which may `hold` it."""
    return archive(folder, STEADY.format(load=load, before=before, answer=answer))


def picture(red: int, green: int = 0, size: tuple[int, int] = (32, 32), kind: str = "PNG") -> bytes:
    """A file with a picture of one colour."""
    return saved(Image.new("RGB", size, (red, green, 0)), kind)


def record(image: bytes, answer: Any, **changes: Any) -> str:
    """A captured PNG file and the answer to it, as a line. ``changes`` has other values by part and name: `request_data`."""
    parts: dict[str, dict[str, Any]] = {
        "request": {"observedContentType": "image/png", "mode": "INPUT", "encoding": "BASE64"},
        "answer": {"observedContentType": "application/json", "mode": "OUTPUT", "encoding": "JSON", "data": answer},
        "about": {"eventId": "1", "inferenceTime": "2024-10-16T09:16:33Z"},
    }
    parts["request"]["data"] = base64.b64encode(image).decode()
    for name, value in changes.items():
        part, key = name.split("_", 1)
        parts[part][key] = value
    captured = {"endpointInput": parts["request"], "endpointOutput": parts["answer"]}
    return json.dumps({"captureData": captured, "eventMetadata": parts["about"], "eventVersion": "0"}) + "\n"


def settings(**changes: Any) -> WorkflowSettings:
    """The settings of a deployment in this project's params.yaml, but for some of `deploy.scones`."""
    parameters = config.read(ROOT / "params.yaml")
    parameters["deploy"]["scones"] |= changes
    return workflow_settings(parameters)


def wait_until(condition: Callable[[], object], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
