"""Write HTML pages from the templates in this folder. Each page is one file and needs no network."""

import base64
import mimetypes
from pathlib import Path

import jinja2

from stages.common import files

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write(path: Path, template: str, **context: object) -> None:
    """Fill a template and write it to ``path``, atomically. Values in ``context`` are escaped."""
    text = _ENVIRONMENT.get_template(template).render(context)
    with files.new_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def inlined(picture: bytes, name: str) -> str:
    """Return a PNG or SVG as a data URL; the suffix of ``name`` gives its type."""
    kind = mimetypes.guess_type(name)[0]
    return f"data:{kind};base64,{base64.b64encode(picture).decode()}"
