"""A tiny model.tar.gz and pictures of one colour, of which it says what the test wants."""

from pathlib import Path

import model_servers
from pictures import saved
from PIL import Image

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

BROKEN, SLOW, UNKNOWN = 1, 2, 3
"""Values of green at which the model fails, takes 3 s, or answers that it doesn't know such pictures."""


def archive(folder: Path, inference: str = INFERENCE) -> Path:
    """A model that is as sure of class 0 as the picture is red."""
    return model_servers.archive(folder, inference)


def picture(red: int, green: int = 0, blue: int = 0) -> bytes:
    """A PNG file of 32x32 pixels of one colour."""
    return saved(Image.new("RGB", (32, 32), (red, green, blue)), "PNG")
