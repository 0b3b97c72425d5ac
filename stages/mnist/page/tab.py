"""The tab of mnist: draw a digit and see its ten probabilities change."""

from base64 import b64encode
from html import escape
from pathlib import Path

import gradio as gr
import numpy as np

from stages.common import files
from stages.common.errors import InputError
from stages.serving.models import Models
from stages.serving.page import examples
from stages.serving.page.examples import Example
from stages.serving.page.html import block, note

# The page has its own canvas (static/digit.js). gr.Sketchpad uploads a file for each stroke through Gradio's queue, answers
# after the stroke and loads 3 MB of script. This canvas posts 280x280 PNG files to the API, one request at a time. Nothing can be
# pressed (`inert`) until the script is there: it may load after the page is shown, and would miss what was pressed before.
CANVAS = """
<div class="digit" data-digit inert>
<canvas width="280" height="280" tabindex="0" role="img" aria-label="Drawing area: draw a digit with mouse, finger or pen;
arrow keys also draw, and with Shift they move the pen"></canvas>
<div class="tools"><button type="button" data-clear>Clear</button>
<label><input type="checkbox" data-several> Several digits</label>
<label class="file">Open a picture<input type="file" accept="image/*,.heic,.heif,.avif" aria-label="Open a picture of a digit"></label></div></div>
"""
ANSWER = """<div class="answer" data-answer><p class="verdict" role="status" aria-live="polite"></p><ol class="bars">{rows}</ol></div>"""
ROW = """<li data-class="{digit}"><span class="name">{digit}</span><span class="track" aria-hidden="true"><i class="fill" style="width:0"></i>
</span><span class="share">&ndash;</span></li>"""


def tab(models: Models, folder: Path, opened: gr.Tab) -> None:
    rows = "".join(ROW.format(digit=digit) for digit in range(10))
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            block(CANVAS)
        with gr.Column(scale=2, min_width=280):
            block(ANSWER.format(rows=rows), elem_id="mnist-result")
    try:
        block(f'<div class="examples digits" inert>{"".join(map(_button, clickable()))}</div>')
    except InputError as error:
        block(note(f"No examples to click: {error}"))


def _button(example: Example) -> str:
    source = f"data:image/png;base64,{b64encode(example.content).decode()}"
    label = escape(example.label)
    return f'<button type="button" data-example aria-label="Example: a {label}"><img src="{source}" alt=""></button>'


def clickable() -> list[Example]:
    """Return a test digit of each class, light ink on dark. Raise InputError if there are none."""
    arrays = np.load(files.require(Path("data/mnist/features/test.npz"), "featurize@mnist"))
    pictures, labels = arrays["images"], arrays["labels"]
    rows = [np.flatnonzero(labels == digit)[0] for digit in np.unique(labels)]
    return [Example(str(labels[row]), examples.png(pictures[row]), examples.png(pictures[row])) for row in rows]
