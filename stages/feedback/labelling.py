"""Label captured pictures in a browser, one by one: `make label PROJECT=landmarks`, or

    python -m stages.feedback.labelling landmarks --captures reports/captured

``--captures`` first collects the pictures of captured requests that the model was unsure of or did not know. The page has
its own server on this machine, which requires a token. Labels are written at once to data/<project>/labelled/labels.csv.
"""

import argparse
import base64
import io
import os
import secrets
from collections.abc import Callable
from functools import partial
from html import escape
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import gradio as gr
from fastapi import FastAPI
from PIL import Image

from stages import projects
from stages.common.errors import InputError
from stages.common.program import run
from stages.common.sources.label_table import TABLE
from stages.common.vision import images
from stages.feedback import captured, labels
from stages.serving import __main__ as serving
from stages.serving.access import LOOPBACK, AccessGuard, Rules
from stages.serving.container.server import Server
from stages.serving.page import blocks
from stages.serving.page.html import block, name, note, one_block, percent

KEYS = "123456789abcdefghijklmnopqrtvwxz"
"""Keys of the classes. 0, s, u and y have other meanings. With more classes, the last ones have buttons only."""

SKIPPED = "\0"
"""Marks a skipped picture, in place of its former label."""


class Session(NamedTuple):
    """The state of one browser tab."""

    current: str | None = None
    """The picture that is shown."""
    suggestion: str = ""
    """Its suggested label."""
    seen: tuple[str, ...] = ()
    """Pictures that are not shown again."""
    done: tuple[tuple[str, str], ...] = ()
    """Answered pictures with their former labels, or SKIPPED, in order."""
    step: int = 0
    """Number of answers and undos."""


def following(folder: Path, classes: list[str], session: Session) -> tuple[Session, str]:
    """Return ``session`` with the next picture, and this picture with its suggestion as HTML."""
    waiting = [item for item in labels.items(folder, classes) if item.file not in session.seen]
    step = session.step
    if not waiting:
        words = f"Nothing is left to label. The labels are in {folder / TABLE}: `dvc repro` trains with them."
        markup = f'<div data-label-file="" data-label-step="{step}">{note(words)}</div>'
        return session._replace(current=None, suggestion=""), one_block(markup)
    item = waiting[0]
    said = f"the model said {name(item.suggestion)}, {percent(item.confidence)}"
    suggested = said if item.suggestion else "no suggestion"
    unknown = "; it looks like none of the classes" if item.unknown else ""
    doubt = f'<p class="bad">Labelled {escape(name(item.label))}, which may be a mistake.</p>' if item.doubtful else ""
    return session._replace(current=item.file, suggestion=item.suggestion), one_block(
        f'<figure class="labelled" data-label-file="{escape(item.file)}" data-label-step="{step}">'
        f"{shown(folder / item.file)}<figcaption>{len(waiting)} left: {escape(item.file)}</figcaption></figure>"
        f'{doubt}<p class="verdict">{escape(suggested + unknown)}</p>'
    )


def shown(file: Path) -> str:
    """Return a picture as HTML, reduced and in a format that every browser shows."""
    try:
        pixels = images.reduced(file.read_bytes(), 100_000_000, 800)
    except images.ImageError as error:
        return f'<p class="bad">{escape(str(error))}</p>'
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    kind = "" if max(pixels.shape[:2]) > 64 else ' class="small"'  # its pixels are enlarged
    return f'<img{kind} src="data:image/png;base64,{data}" alt="the picture to label">'


def page(folder: Path, classes: list[str]) -> gr.Blocks:
    """Return the page for the pictures in ``folder``."""
    made: gr.Blocks
    with gr.Blocks(title="Label captured pictures", analytics_enabled=False) as made:
        block("<h1>Label captured pictures</h1>")
        view = block(live=True)
        # The name of the tab's session. For gr.State Gradio would keep a connection open, which `UploadGuard` refuses.
        tab = gr.Textbox(visible=False)
        sessions: dict[str, Session] = {}

        def show(number: str, session: Session) -> str:
            sessions[number], markup = following(folder, classes, session)
            return markup

        def start() -> tuple[str, str]:
            number = secrets.token_hex(8)
            return number, show(number, Session())

        def answer(number: str, label: str | None) -> str:
            """Label the picture that is shown; None skips it."""
            session = sessions.get(number, Session())
            if session.current:
                former = SKIPPED if label is None else labels.write(folder, session.current, label)
                done = (*session.done, (session.current, former))
                session = Session(None, "", (*session.seen, session.current), done, session.step + 1)
            return show(number, session)

        def accept(number: str) -> str:
            """Label the picture that is shown as suggested. Without a suggestion it stays."""
            session = sessions.get(number, Session())
            if session.suggestion:
                return answer(number, session.suggestion)
            return show(number, session._replace(step=session.step + 1))

        def undo(number: str) -> str:
            """Take back the last answer, and show its picture again."""
            session = sessions.get(number, Session())
            if session.done:
                file, former = session.done[-1]
                if former != SKIPPED:
                    labels.write(folder, file, former)
                seen = tuple(other for other in session.seen if other != file)
                session = Session(None, "", seen, session.done[:-1], session.step + 1)
            return show(number, session)

        def add(key: str, text: str, does: Callable[[str], str], primary: bool = False) -> None:
            named, number = (f"{text}  ({key})", f"key-{key}") if key else (text, None)
            button = gr.Button(named, elem_id=number, variant="primary" if primary else "secondary", min_width=150)
            button.click(does, tab, view, show_progress="hidden")

        with gr.Row():
            for key, label in zip_longest(KEYS[: len(classes)], classes, fillvalue=""):
                add(key, name(label), partial(answer, label=label), primary=True)
        with gr.Row():
            add("y", "as suggested", accept)
            add("0", "no label", partial(answer, label=""))
            add("s", "skip", partial(answer, label=None))
            add("u", "undo", undo)
        made.load(start, None, [tab, view])
    # One handler at a time: each reads and writes the whole table.
    made.queue(api_open=False, max_size=32, default_concurrency_limit=1)
    return made


def application(folder: Path, classes: list[str], token: str) -> FastAPI:
    """Return the application: the page at /label, for requests with the ``token``."""
    app = FastAPI(openapi_url=None)
    app.add_middleware(AccessGuard, rules=Rules(token, LOOPBACK, 20))  # requests a second
    script = '<script type="module" src="own/label.js"></script>'
    blocks.attach(app, page(folder, classes), "/label", folder.resolve(), 0, script)
    return app


def main(project: str, captures: str | None, threshold: float | None, port: int, token: str | None) -> None:
    served = projects.feedback(project)
    if not hasattr(served, "collect"):
        raise InputError(f"{project} has no pictures to label: expected a project such as landmarks or scones")
    assert served
    classes = served.classes()
    if captures:
        new = served.collect(captured.texts(captures, project), threshold)
        print(f"{new} new pictures of {captures} in {served.LABELLED}")
    waiting = labels.items(served.LABELLED, classes)
    listener = serving.listen("127.0.0.1", port)
    token = token or os.environ.get(serving.TOKEN) or secrets.token_urlsafe(16)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/label/?token={token}"
    print(f"{len(waiting)} pictures to look at: {address}  (Ctrl-C stops)", flush=True)
    Server(application(served.LABELLED, classes, token), listener, None).serve_until_stopped()


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "project", nargs="?", default="scones", choices=projects.names(), help="project of the pictures (scones)"
    )
    parser.add_argument(
        "--captures", metavar="SOURCE", help="first collect pictures of captured requests from this folder or URL"
    )
    parser.add_argument("--threshold", type=float, help="collect answers below this confidence; default: the project's")
    parser.add_argument("--port", type=int, default=8081, help="port to listen on; 0: any free one (8081)")
    parser.add_argument("--token", help=f"token that requests must carry; default: {serving.TOKEN}, or a new one")


if __name__ == "__main__":
    run(main, arguments)
