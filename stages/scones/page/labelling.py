"""Label captured pictures in a browser, one by one: `make label`, or

    python -m stages.scones.page.labelling

It is a server of its own on this machine, behind a token. Labels are written at once to data/scones/labelled/labels.csv.
"""

import argparse
import base64
import os
import secrets
from functools import partial
from html import escape
from pathlib import Path
from typing import Literal, NamedTuple

import gradio as gr
from fastapi import FastAPI

from stages.common import config
from stages.common.program import run
from stages.scones.config import Data
from stages.scones.feedback import labels
from stages.scones.feedback.labelled import FOLDER, TABLE
from stages.serving import __main__ as serving
from stages.serving.container.server import Server
from stages.serving.guard import LOOPBACK, AccessGuard, Rules
from stages.serving.page import blocks
from stages.serving.page.html import block, name, note, one_block, percent

KEYS = "123456789abcdefghijklmnopqrtvwxyz"
"""Keys of the classes. 0, s and u have other meanings."""

SKIPPED = "\0"
"""Stands for the former label of a picture that was skipped."""

RATE = 20
"""Requests a second."""


class Session(NamedTuple):
    """What one browser tab shows and has done."""

    current: str | None = None
    """The picture that is shown."""
    seen: tuple[str, ...] = ()
    """Pictures that are not shown again."""
    done: tuple[tuple[str, str], ...] = ()
    """Pictures and their former labels, or SKIPPED, the last one last."""
    step: int = 0
    """Number of answers and undos."""


def following(folder: Path, classes: list[str], session: Session) -> tuple[Session, str]:
    """Return ``session`` with the next picture, and this picture with its suggestion as HTML."""
    waiting = [item for item in labels.items(folder, classes) if item.file not in session.seen]
    step = session.step
    if not waiting:
        words = f"Nothing is left to label. The labels are in {folder / TABLE}: `dvc repro` trains with them."
        markup = f'<div data-label-file="" data-label-step="{step}">{note(words)}</div>'
        return session._replace(current=None), one_block(markup)
    item = waiting[0]
    image = base64.b64encode((folder / item.file).read_bytes()).decode()
    suggested = (
        f"the model said {name(item.suggestion)}, {percent(item.confidence)}" if item.suggestion else "no suggestion"
    )
    doubt = f'<p class="bad">Labelled {escape(name(item.label))}, which may be a mistake.</p>' if item.doubtful else ""
    return session._replace(current=item.file), one_block(
        f'<figure class="labelled" data-label-file="{escape(item.file)}" data-label-step="{step}">'
        f'<img src="data:image/png;base64,{image}" alt="the picture to label">'
        f"<figcaption>{len(waiting)} left: {escape(item.file)}</figcaption></figure>"
        f'{doubt}<p class="verdict">{escape(suggested)}</p>'
    )


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
                session = Session(None, (*session.seen, session.current), done, session.step + 1)
            return show(number, session)

        def undo(number: str) -> str:
            """Take back the last answer, and show its picture again."""
            session = sessions.get(number, Session())
            if session.done:
                file, former = session.done[-1]
                if former != SKIPPED:
                    labels.write(folder, file, former)
                seen = tuple(other for other in session.seen if other != file)
                session = Session(None, seen, session.done[:-1], session.step + 1)
            return show(number, session)

        def add(key: str, text: str, label: str | None, variant: Literal["primary", "secondary"]) -> None:
            button = gr.Button(f"{text}  ({key})", elem_id=f"key-{key}", variant=variant, min_width=100)
            button.click(partial(answer, label=label), tab, view, show_progress="hidden")

        with gr.Row():
            for key, label in zip(KEYS, classes, strict=False):
                add(key, name(label), label, "primary")
        with gr.Row():
            add("0", "no label", "", "secondary")
            add("s", "skip", None, "secondary")
            button = gr.Button("undo  (u)", elem_id="key-u", min_width=100)
            button.click(undo, tab, view, show_progress="hidden")
        made.load(start, None, [tab, view])
    # One handler at a time: each reads and writes the whole table.
    made.queue(api_open=False, max_size=32, default_concurrency_limit=1)
    return made


def application(folder: Path, classes: list[str], token: str) -> FastAPI:
    """Return the application: the page at /label, for requests with the ``token``."""
    app = FastAPI(openapi_url=None)
    app.add_middleware(AccessGuard, rules=Rules(token, LOOPBACK, RATE))
    blocks.attach(
        app, page(folder, classes), "/label", folder.resolve(), 0, '<script type="module" src="own/label.js"></script>'
    )
    return app


def main(port: int, token: str | None) -> None:
    classes = config.load("data.scones", Data).classes
    waiting = labels.items(FOLDER, classes)
    listener = serving.listen("127.0.0.1", port)
    token = token or os.environ.get(serving.TOKEN) or secrets.token_urlsafe(16)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/label/?token={token}"
    print(f"{len(waiting)} pictures to look at: {address}  (Ctrl-C stops)", flush=True)
    Server(application(FOLDER, classes, token), listener, None).serve_until_stopped()


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8081, help="port to listen on; 0: any free one (8081)")
    parser.add_argument("--token", help=f"token that requests must carry; default: {serving.TOKEN}, or a new one")


if __name__ == "__main__":
    run(main, arguments)
