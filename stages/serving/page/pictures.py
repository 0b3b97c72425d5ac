"""Picture inputs for the tabs, and the uploaded bytes for the handlers.

Handlers get the component's own payload (`preprocess=False`). Otherwise Gradio's Image would decode untrusted files with all
of Pillow's formats, in the server's own process. Here the bytes go unchanged to the model's process.
"""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from stages.common.errors import InputError
from stages.serving.container.errors import Refusal
from stages.serving.page.examples import Example
from stages.serving.page.html import block, name, note

UPLOADED, EXAMPLES = "uploaded", "examples"
"""In the page's own folder: files that Gradio reads, serves and deletes again, and files that it copies to show them."""

REFUSED = "This file is no longer available: upload the picture again."


def intake(project: str, label: str, hint: str) -> tuple[gr.Image, gr.Markdown]:
    """Add an input to drop, paste, upload or photograph a picture, and beside it a block for the answer with a ``hint``."""
    with gr.Row():
        with gr.Column(min_width=280):
            picture = gr.Image(
                label=label,
                type="filepath",
                image_mode=None,
                sources=["upload", "webcam", "clipboard"],
                buttons=[],
                height=320,
                elem_id=f"{project}-picture",
                webcam_options=gr.WebcamOptions(mirror=False),
            )
        with gr.Column(min_width=280):
            result = block(hint, live=True, elem_id=f"{project}-result")
    return picture, result


def buttons(read_examples: Callable[[], Sequence[Example]], picture: gr.Image, folder: Path) -> None:
    """Add a button for each example that puts it into ``picture``. Gradio shows files, so they are written to ``folder``."""
    try:
        examples = read_examples()
    except InputError as error:
        block(note(f"No examples to click: {error}"))
        return
    with gr.Row(elem_classes=["examples"]):
        for number, example in enumerate(examples):
            content = _written(folder / EXAMPLES, example.content)
            thumbnail = _written(folder / EXAMPLES, example.thumbnail)
            button = gr.Button(
                name(example.label), icon=thumbnail, size="sm", min_width=90, elem_id=f"{picture.elem_id}-{number}"
            )
            assert button.icon
            button.keep_in_cache.add(button.icon["path"])  # otherwise it would be deleted as old, like an upload
            button.click(_constant(content), None, picture, api_visibility="private", show_progress="hidden")


def _written(folder: Path, content: bytes) -> str:
    suffix = ".jpg" if content.startswith(b"\xff\xd8") else ".png"
    with tempfile.NamedTemporaryFile(dir=folder, suffix=suffix, delete=False) as file:
        file.write(content)
    return file.name


def _constant(value: str) -> Callable[[], Coroutine[Any, Any, str]]:
    async def put() -> str:
        return value

    return put


async def read(payload: Any, folder: Path) -> bytes:
    """Return the bytes of an uploaded file. Raise Refusal for a payload that names no uploaded file.

    `guard` has already refused others. The payload is checked again here, where a file is opened.
    """
    path = Path(payload["path"] if isinstance(payload, dict) else payload.path).resolve()
    if not path.is_relative_to(folder / UPLOADED):
        raise Refusal(400, "not_uploaded", REFUSED)
    try:
        return await asyncio.to_thread(path.read_bytes)
    except OSError:  # Gradio has deleted it because it was too old
        raise Refusal(400, "not_uploaded", REFUSED) from None
