"""Set the title and description in the page's HTML, for search engines and previews of links."""

import re
from html import escape

from gradio.routes import templates
from jinja2.ext import Extension

from stages import projects

TABS = sorted(projects.names(), key=lambda name: projects.about(name).rank)
"""The projects in the order of their tabs."""

TITLE = f"Trained models: {', '.join(projects.about(name).title.lower() for name in TABS)}"
DESCRIPTION = "Draw, upload a picture or choose a day, and see what each model answers and how sure it is."

GRADIOS = re.compile(r'<meta\s+(?:property|name)="(?:og|twitter):[^>]*>')
"""The preview in Gradio's template: its own name and picture, and addresses of other hosts."""


class OwnHead(Extension):
    """Replace the preview in Gradio's template, for which it has no setting, before Jinja compiles it."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        del name, filename
        if not GRADIOS.search(source):
            return source
        texts = {"og:title": TITLE, "og:description": DESCRIPTION, "og:type": "website"}
        metas = [f'<meta property="{key}" content="{escape(text)}">' for key, text in texts.items()]
        metas += [f'<meta name="description" content="{escape(DESCRIPTION)}">', f"<title>{escape(TITLE)}</title>"]
        return GRADIOS.sub("", source).replace("<head>", f"<head>{''.join(metas)}", 1)


def install() -> None:
    """Let Gradio use `OwnHead`."""
    templates.env.add_extension(OwnHead)
