"""The pieces of HTML that the tabs share. Text from outside is escaped here, once."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import gradio as gr


def block(value: str = "", *, live: bool = False, **options: Any) -> gr.Markdown:
    """Return a component that shows the HTML ``value`` unchanged. ``live``: screen readers read its changes out.

    It is gr.Markdown because the templates of gr.HTML need JavaScript's eval. It is not sanitized, because that would
    remove the drawings. This package makes all of the HTML and escapes its texts.
    """
    classes = [*options.pop("elem_classes", []), *(["live"] if live else [])]
    return gr.Markdown(one_block(value), sanitize_html=False, latex_delimiters=[], elem_classes=classes, **options)


def one_block(markup: str) -> str:
    """Return ``markup`` without line breaks, after which Markdown would interpret it."""
    return f"<div>{' '.join(markup.split())}</div>" if markup else ""


def words(sentence: str) -> str:
    """Return a sentence as HTML, with its `commands` as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(sentence))


def note(sentence: str) -> str:
    """Return a note that is shown instead of an answer, with the reason."""
    return f'<p class="note">{words(sentence)}</p>'


def name(label: str) -> str:
    """Return a class as people write it: `hagia_sophia` becomes hagia sophia."""
    return label.replace("_", " ").strip()


def percent(share: float) -> str:
    """Format a fraction as `98.3 %`. Only 1 becomes 100 %."""
    return f"{min(share, 0.999) if share < 1 else share:.1%}".replace("%", " %")


def bars(classes: Iterable[dict[str, Any]], threshold: float | None = None) -> str:
    """Return an answer's classes with their probabilities as bars, and a line at ``threshold``."""
    mark = "" if threshold is None else f'<i class="mark" style="left:{threshold:.2%}"></i>'
    rows = [
        f'<li><span class="name">{escape(name(one["class"]))}</span>'
        f'<span class="track" aria-hidden="true"><i class="fill" style="width:{one["probability"]:.2%}"></i>{mark}</span>'
        f'<span class="share">{percent(one["probability"])}</span></li>'
        for one in classes
    ]
    return f'<ol class="bars">{"".join(rows)}</ol>'


def none_of(classes: int, things: str) -> str:
    """Return the verdict on an unknown picture. The model has so many ``classes``, which are ``things``."""
    return f'<p class="verdict"><strong>looks like none of the {classes} {things}</strong></p>'


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table. The cells of ``rows`` are already HTML."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
