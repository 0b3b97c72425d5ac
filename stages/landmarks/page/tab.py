"""The tab of landmarks: a photograph, its five most probable classes, and a map with the first one."""

from collections.abc import AsyncIterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
import numpy as np

from stages.common import files
from stages.landmarks import photographs
from stages.landmarks.page import overlay, worldmap
from stages.serving.container.errors import Refusal
from stages.serving.models import Models
from stages.serving.page import examples, pictures
from stages.serving.page.answers import answered
from stages.serving.page.examples import Example
from stages.serving.page.html import bars, block, name, none_of, note, one_block, percent, table, words

Row = tuple[str, str, str]

MAX_FILES = 32

SHOWN = 5
"""Number of classes with a bar."""

HINT = one_block('<p class="hint">Upload a photograph, or click one of the examples.</p>')
CAMERA = """<div class="camera" data-camera inert><video muted playsinline aria-label="Camera"></video>
<div class="tools"><button type="button" data-toggle>Start the camera</button></div>
<div class="answer"><p class="verdict" role="status"></p><ol class="bars"></ol></div></div>"""


def tab(models: Models, folder: Path, opened: gr.Tab) -> None:
    async def look(payload: Any, several: bool) -> AsyncIterator[str]:
        async def ask() -> str:
            found = await _ask(models, payload, folder, "; several=true" if several else "; evidence=true")
            source = _source(payload)
            return overlay.boxes(source, found) if several else shown(found[0], overlay.evidence(source, found[0]))

        if payload is None:
            yield HINT
            return
        async for markup in answered(ask):
            yield markup

    async def look_at_all(payloads: Any) -> AsyncIterator[str]:
        given = list(getattr(payloads, "root", payloads) or [])
        cut = f"Only the first {MAX_FILES} of {len(given)} files are classified."
        more = note(cut) if len(given) > MAX_FILES else ""
        rows: list[Row] = []
        yield ""
        for payload in given[:MAX_FILES]:
            rows.append(await _row(models, payload, folder))
            listed = table("Each picture with its best class", ["Picture", "File", "Best class"], rows)
            yield one_block(listed + more)

    block(worldmap.land())
    picture, result = pictures.intake("landmarks", "A photograph", HINT)
    many = gr.Checkbox(False, label="Several landmarks in one picture", elem_id="landmarks-many")
    pictures.buttons(clickable, picture, folder)
    with gr.Accordion("Live camera", open=False):
        block(CAMERA)
    with gr.Accordion("Several photographs at once", open=False):
        several = gr.File(file_count="multiple", label="Photographs", elem_id="landmarks-several", height=140)
        results = block(live=True, elem_id="landmarks-results")
    quiet: Any = {"preprocess": False, "api_visibility": "private", "trigger_mode": "always_last"}
    gr.on([picture.change, many.input], look, [picture, many], result, **quiet)
    several.change(look_at_all, several, results, **quiet)


def shown(prediction: dict[str, Any], evidence: str = "") -> str:
    """Return an answer as HTML: the best class in words, the bars, the ``evidence``, and the map if the coordinates are known.

    ``prediction`` has all classes. A photograph of none of them gets no map, and its bars have a note.
    """
    classes = prediction["top"]
    best, rows = classes[0], bars(classes[:SHOWN])
    if prediction.get("known") is False:
        return f'{none_of(len(classes), "landmarks")}<p class="about">If it were one of them:</p>{rows}'
    title = escape(name(best["class"]))
    sentence = f'<p class="verdict"><strong>{title}</strong> {percent(best["probability"])}</p>'
    place = best.get("latitude"), best.get("longitude")
    unknown = '<p class="about">The location of this class is not known.</p>'
    where = unknown if None in place else worldmap.place(name(best["class"]), *place)
    return f"{sentence}{rows}{evidence}{where}"


async def _ask(models: Models, payload: Any, folder: Path, option: str = "") -> list[dict[str, Any]]:
    """Return the predictions for an uploaded file, with all classes."""
    content = await pictures.read(payload, folder)
    answer = await models.predict("landmarks", content, f"application/octet-stream{option}", None)
    predictions: list[dict[str, Any]] = answer["predictions"]
    return predictions


def _source(payload: Any) -> str:
    """Return an upload's address. It is relative to the page, so that it also works behind a proxy."""
    path = payload["path"] if isinstance(payload, dict) else payload.path
    return escape(f"gradio_api/file={quote(path)}")


async def _row(models: Models, payload: Any, folder: Path) -> Row:
    """Return a file's row of the table: its best class, or the reason why there is none."""
    fields = payload if isinstance(payload, dict) else payload.model_dump()
    title = escape(str(fields.get("orig_name") or Path(fields["path"]).name))
    try:
        prediction = (await _ask(models, payload, folder))[0]
    except Refusal as error:
        return "", title, f'<span class="bad">{words(error.message)}</span>'
    image = f'<img src="{_source(payload)}" alt="{title}" loading="lazy">'
    best = prediction["top"][0]
    if prediction.get("known") is False:
        return image, title, f"none of the {len(prediction['top'])} landmarks"
    return image, title, f"{escape(name(best['class']))}, {percent(best['probability'])}"


def clickable(number: int = 6) -> list[Example]:
    """Return test photographs of different classes. Raise InputError with the command that makes them if there are none."""
    raw = files.require(Path("data/landmarks/raw"), "prepare@landmarks")
    classes = photographs.read_classes(raw)
    of_label = {photograph.label: photograph for photograph in reversed(photographs.read_index(raw, "test"))}
    labels = sorted(of_label)
    spread = np.linspace(0, len(labels) - 1, min(number, len(labels))).astype(int)
    with photographs.open_archive(raw, "test") as archive:
        chosen = [labels[place] for place in spread]
        return [examples.example(classes[label].name, archive.read(of_label[label].path)) for label in chosen]
