"""Build the page with one tab per project, and mount it into the server's application."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from stages import projects
from stages.common import temporary
from stages.serving.container.errors import HANDLERS, Refusal
from stages.serving.models import Models
from stages.serving.page import QUOTA, UPLOADS, head, plain, uploads
from stages.serving.page.about import about
from stages.serving.page.guard import UploadGuard
from stages.serving.page.html import block, note
from stages.serving.page.pictures import EXAMPLES, UPLOADED

STATIC = Path(__file__).with_name("static")
HEAD = "".join(f'<script type="module" src="own/{name}.js"></script>' for name in ("page", "digit", "camera"))

EVERY, AGE = 60, 600
"""Seconds between deletions of old files, and seconds that an upload is kept so that its picture can be shown again."""


def build(models: Models, folder: Path) -> gr.Blocks:
    """Return the page. ``folder`` is its own and contains the folders UPLOADED and EXAMPLES."""
    page: gr.Blocks
    with gr.Blocks(title=head.TITLE, analytics_enabled=False, delete_cache=(EVERY, AGE)) as page:
        block("<h1>Trained models</h1>")
        with gr.Tabs(selected=next((name for name in head.TABS if name in models.exports), None)):
            for project in head.TABS:
                with gr.Tab(projects.about(project).tab, id=project) as opened:
                    _tab(project, models, folder, opened)
    # Handlers only wait for models, which answer several requests at once. With many handlers, users don't wait for each other.
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

    Returns a function to call when the server stops. It ends the responses that last as long as a page is open.
    """
    kept = ExitStack()
    folder = kept.enter_context(temporary.folder("page"))
    for part in (UPLOADED, EXAMPLES):
        (folder / part).mkdir()
    # Gradio's only setting for the folder of uploads. All Gradio servers of a machine share its default, /tmp/gradio.
    os.environ["GRADIO_TEMP_DIR"] = str(folder / UPLOADED)
    page = build(models, folder)
    stop = attach(app, page, "/page", folder / UPLOADED, max_bytes, HEAD)
    uploads.install()
    head.install()
    _remove_at_end(app, kept)
    return stop


def attach(app: FastAPI, page: gr.Blocks, path: str, folder: Path, max_bytes: int, head: str) -> Callable[[], None]:
    """Put ``page`` at ``path`` of ``app``. Requests can read files in ``folder``, and upload files unless ``max_bytes`` is 0.

    ``head`` are HTML elements with this package's files. Returns the function that ends responses, see `mount`.
    """
    app.add_api_route("/favicon.ico", lambda: FileResponse(STATIC / "icon.svg"), include_in_schema=False)
    app.mount(f"{path}/own", StaticFiles(directory=STATIC))
    gr.mount_gradio_app(
        app,
        page,
        path,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=max_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        theme=theme(),
        head=f'{head}<link rel="stylesheet" href="own/page.css">',
    )
    # A second check behind `guard`: without this Gradio doesn't check whether a path in a request was uploaded.
    page.has_launched = True
    mounted = next(route for route in app.routes if isinstance(route, Mount) and route.path == path)
    stop: Callable[[], None] = mounted.app.stop_event.set  # type: ignore[attr-defined]  # of Gradio's App
    mounted.app.add_exception_handler(Refusal, HANDLERS[HTTPException])  # type: ignore[attr-defined]
    mounted.app = UploadGuard(mounted.app, page, folder, UPLOADS * max_bytes, QUOTA * max_bytes)
    return stop


def _remove_at_end(app: FastAPI, kept: ExitStack) -> None:
    """Delete the page's folder, which ``kept`` holds, when the server stops."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        try:
            async with inner(app) as state:
                yield state
        finally:
            kept.close()

    app.router.lifespan_context = lifespan


def theme() -> gr.themes.Base:
    """Return Gradio's default theme with system fonts, since its own come from Google, and with readable subdued text."""
    default = gr.themes.Default(
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )
    return default.set(body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_300")
