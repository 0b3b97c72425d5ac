"""The default tab, for projects without `page/tab.py`: a request and the model's answer, both as JSON."""

import json
from collections.abc import AsyncIterator
from html import escape

import gradio as gr

from stages.serving.models import Models
from stages.serving.page.answers import answered
from stages.serving.page.html import block, note, one_block


def tab(project: str, models: Models, accepts: tuple[str, ...]) -> None:
    """Build the tab of ``project``, whose model takes the content types ``accepts``."""
    if "application/json" not in accepts:
        how = f"send a file with `python -m stages.serving.client {project} FILE`"
        block(note(f"This model takes {', '.join(accepts)}: {how}."))
        return

    async def query(text: str) -> AsyncIterator[str]:
        async def ask() -> str:
            answer = await models.predict(project, text.encode(), "application/json")
            return f"<pre>{escape(json.dumps(answer['predictions'], indent=1))}</pre>".replace("\n", "<br>")

        async for markup in answered(ask):
            yield markup

    request = gr.Textbox("", label="Request, as JSON", lines=8, max_length=100_000, elem_id=f"{project}-request")
    send = gr.Button("Predict", variant="primary", elem_id=f"{project}-send")
    result = block(one_block(""), live=True, elem_id=f"{project}-result")
    send.click(query, request, result, api_visibility="private")
