"""Write HTML pages from the templates in this folder. Each page is one file and needs no network."""

import base64
import mimetypes
import os
from pathlib import Path
from typing import NamedTuple

import jinja2
import vl_convert
from markupsafe import Markup

from stages.common import files

VEGA_LITE = "5.21"
"""The version of Vega-Lite whose script pages contain: DVC's plots use version 5 of the schema."""

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

# JSON inside a <script>: nothing in it may end that element.
_ENVIRONMENT.filters["script"] = lambda text: Markup(text.replace("<", "\\u003c"))  # noqa: S704

PAGES = {
    "Results": (Path("reports/index.html"), "make metrics"),
    "Comparison": (Path("reports/compare/index.html"), "make compare"),
    "Review": (Path("reports/review/index.html"), "make review"),
    "Drift": (Path("reports/drift/index.html"), "make drift"),
}
"""The pages that link to each other, and the commands that write them."""


class Link(NamedTuple):
    """An entry of the navigation: the page's address, or None as long as ``command`` has not written it."""

    title: str
    url: str | None
    command: str
    here: bool


def write(path: Path, template: str, folder: Path | None = None, **context: object) -> None:
    """Fill a template and write it to ``path``, atomically. Values in ``context`` are escaped.

    ``folder`` is where the page is used: it gets links to the other pages, relative to it. None: no links.
    """
    text = _ENVIRONMENT.get_template(template).render(context, links=_links(folder) if folder else [])
    with files.new_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _links(folder: Path) -> list[Link]:
    return [
        Link(
            title,
            os.path.relpath(page, folder) if page.exists() or page.parent == folder else None,
            command,
            page.parent == folder,
        )
        for title, (page, command) in PAGES.items()
    ]


def vega() -> Markup:
    """Return the script of Vega and Vega-Lite, which defines `vegaEmbed`. It needs no network."""
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", VEGA_LITE)
    return Markup(bundle)  # noqa: S704 (a pinned package's own script)


def inlined(picture: bytes, name: str) -> str:
    """Return a PNG or SVG as a data URL; the suffix of ``name`` gives its type."""
    kind = mimetypes.guess_type(name)[0]
    return f"data:{kind};base64,{base64.b64encode(picture).decode()}"
