"""The pieces of HTML that the tabs share. What comes from outside is escaped here, once."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import gradio as gr


def block(value: str = "", *, live: bool = False, **options: Any) -> gr.Markdown:
    """``value``, HTML, as it is. ``live``: what changes in it is read out.

    gr.Markdown, not gr.HTML, whose templates need JavaScript's eval. Not sanitized, since that would take the drawings
    out: nothing comes here but what this package has made and escaped.
    """
    classes = [*options.pop("elem_classes", []), *(["live"] if live else [])]
    return gr.Markdown(one_block(value), sanitize_html=False, latex_delimiters=[], elem_classes=classes, **options)


def one_block(markup: str) -> str:
    """``markup`` without the line breaks at which Markdown would begin to read it as its own."""
    return f"<div>{' '.join(markup.split())}</div>" if markup else ""


def words(sentence: str) -> str:
    """A sentence for people, `commands` in it as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(sentence))


def note(sentence: str) -> str:
    """What keeps an answer from being given, in the place of the answer."""
    return f'<p class="note">{words(sentence)}</p>'


def name(label: str) -> str:
    """A class as people write it: `hagia_sophia` is hagia sophia."""
    return label.replace("_", " ").strip()


def percent(share: float) -> str:
    """98.3 %, and never 100 % for what isn't certain."""
    return f"{min(share, 0.999) if share < 1 else share:.1%}".replace("%", " %")


def bars(classes: Iterable[dict[str, Any]], threshold: float | None = None) -> str:
    """An answer's classes with their probabilities as bars, and a line at ``threshold``."""
    mark = "" if threshold is None else f'<i class="mark" style="left:{threshold:.2%}"></i>'
    rows = [
        f'<li><span class="name">{escape(name(one["class"]))}</span>'
        f'<span class="track" aria-hidden="true"><i class="fill" style="width:{one["probability"]:.2%}"></i>{mark}</span>'
        f'<span class="share">{percent(one["probability"])}</span></li>'
        for one in classes
    ]
    return f'<ol class="bars">{"".join(rows)}</ol>'


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """``rows`` of cells, which are HTML already."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
