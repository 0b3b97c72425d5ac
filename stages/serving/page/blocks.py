"""The page's frame: a tab a project, and its mounting into the server's application."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.responses import FileResponse
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from stages import projects
from stages.serving.models import Models
from stages.serving.page import UPLOADS, plain
from stages.serving.page.about import about
from stages.serving.page.guard import Guard
from stages.serving.page.html import block, note
from stages.serving.page.pictures import EXAMPLES, UPLOADED

STATIC = Path(__file__).with_name("static")
HEAD = """<script type="module" src="own/page.js"></script><script type="module" src="own/digit.js"></script>
<link rel="stylesheet" href="own/page.css">"""

EVERY, AGE = 60, 600
"""Seconds: how often files are deleted, and for how long an uploaded one is kept, so that its picture can be shown again."""


def build(models: Models, folder: Path) -> gr.Blocks:
    """The page. ``folder`` is its own, with the folders UPLOADED and EXAMPLES in it."""
    page: gr.Blocks
    with gr.Blocks(title="Four models", analytics_enabled=False, delete_cache=(EVERY, AGE)) as page:
        block("<h1>Four models</h1>")
        with gr.Tabs():
            for project in projects.names():
                with gr.Tab(projects.about(project).tab, id=project) as opened:
                    _tab(project, models, folder, opened)
    # Handlers wait for models, which answer several at once; a user doesn't wait for another one's handler.
    page.queue(api_open=False, max_size=128, default_concurrency_limit=16)
    return page


def _tab(project: str, models: Models, folder: Path, opened: gr.Tab) -> None:
    if project not in models.exports:
        block(note(models.missing.get(project, "This model is not served here.")))
        return
    if own := projects.tab(project):
        own.tab(models, folder, opened)
    else:
        plain.tab(project, models, projects.about(project).accepts)
    block(about(models.exports[project]))


def mount(app: FastAPI, models: Models, max_bytes: int) -> Callable[[], None]:
    """Put the page at /page of ``app``. Files of more than ``max_bytes`` are refused.

    What is returned is to be called when the server stops: it ends the answers that go on for as long as a page is open.
    """
    folder = Path(tempfile.mkdtemp(prefix="page-")).resolve()
    for part in (UPLOADED, EXAMPLES):
        (folder / part).mkdir()
    # Gradio's only setting for where uploads go; its default, /tmp/gradio, is shared by all of a machine's Gradio servers.
    os.environ["GRADIO_TEMP_DIR"] = str(folder / UPLOADED)
    page = build(models, folder)
    app.add_api_route("/favicon.ico", _icon, include_in_schema=False)
    app.mount("/page/own", StaticFiles(directory=STATIC))
    gr.mount_gradio_app(
        app,
        page,
        "/page",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=max_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        theme=theme(),
        head=HEAD,
    )
    # A second lock behind `guard`: else Gradio doesn't look whether a path in a request was uploaded.
    page.has_launched = True
    mounted = next(route for route in app.routes if isinstance(route, Mount) and route.path == "/page")
    stop: Callable[[], None] = mounted.app.stop_event.set  # type: ignore[attr-defined]  # of Gradio's App
    mounted.app = Guard(mounted.app, folder / UPLOADED, UPLOADS * max_bytes)
    _remove_at_end(app, folder)
    return stop


async def _icon() -> FileResponse:
    return FileResponse(STATIC / "icon.svg")


def _remove_at_end(app: FastAPI, folder: Path) -> None:
    """Delete ``folder`` when the server stops."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        try:
            async with inner(app) as state:
                yield state
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    app.router.lifespan_context = lifespan


def theme() -> gr.themes.Base:
    """Gradio's default one with the system's fonts, as its own would come from Google, and quiet text that can be read."""
    default = gr.themes.Default(
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )
    return default.set(body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_300")
