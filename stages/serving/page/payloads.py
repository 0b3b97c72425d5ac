"""Check the inputs of the page's handlers: Gradio and the handlers would log a traceback for each wrong type."""

import math
from typing import Any

import gradio as gr


def fault(page: gr.Blocks, question: Any) -> str | None:
    """Return what is wrong with the inputs of a handler, None if nothing is."""
    if not isinstance(question, dict):
        return "expected an object"
    number, data = question.get("fn_index"), question.get("data")
    if type(number) is not int or number not in page.fns:
        return f"fn_index: found {str(number)[:100]}, which is no handler of this page"
    if not isinstance(question.get("session_hash"), str):
        return "session_hash: expected a string"
    inputs = page.fns[number].inputs
    if not isinstance(data, list) or len(data) != len(inputs):
        return f"data: expected a list with {len(inputs)} values"
    for index, (component, value) in enumerate(zip(inputs, data, strict=True)):
        if not _fits(component, value):
            return f"data[{index}]: found {str(value)[:100]!r}, which is no value of {getattr(component, 'label', None) or 'this input'!r}"
    return None


def _fits(component: Any, value: Any) -> bool:
    if isinstance(component, gr.Slider):
        is_number = type(value) in (int, float) and math.isfinite(value)
        return is_number and component.minimum <= value <= component.maximum
    if isinstance(component, gr.Checkbox):
        return isinstance(value, bool)
    if isinstance(component, gr.Dropdown):
        return isinstance(value, str) and value in [choice for _, choice in component.choices]
    if isinstance(component, gr.Textbox):
        return isinstance(value, str) and len(value) <= (component.max_length or math.inf)
    if isinstance(component, gr.Image):
        return value is None or _is_file(value)
    if isinstance(component, gr.File):
        return value is None or (isinstance(value, list) and all(map(_is_file, value)))
    return True


def _is_file(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("path"), str)
