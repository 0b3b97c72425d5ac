"""Check the inputs of the page's handlers: Gradio and the handlers would log a traceback for each wrong type."""

import json
import math
from typing import Any

import gradio as gr
from pydantic import ValidationError

FIELDS = ("fn_index", "data", "session_hash")
"""Fields of a request to a handler. Gradio accepts more, which this page does not use."""

LONGEST = 100
"""Largest number of characters of a session's name."""


def fault(page: gr.Blocks, question: Any) -> str | None:
    """Return what is wrong with the inputs of a handler, None if nothing is."""
    if not isinstance(question, dict):
        return "expected an object"
    number, data = question.get("fn_index"), question.get("data")
    if type(number) is not int or number not in page.fns:
        return f"fn_index: found {str(number)[:100]!r}, expected a handler of this page"
    session = question.get("session_hash")
    if not isinstance(session, str) or not 0 < len(session) <= LONGEST:
        return f"session_hash: expected a string of 1 to {LONGEST} characters"
    inputs = page.fns[number].inputs
    if not isinstance(data, list) or len(data) != len(inputs):
        return f"data: expected a list with {len(inputs)} values"
    for index, (component, value) in enumerate(zip(inputs, data, strict=True)):
        if not _fits(component, value):
            return f"data[{index}]: found {str(value)[:100]!r}, expected a value of {getattr(component, 'label', None) or 'this input'!r}"
    return None


def checked(question: dict[str, Any]) -> bytes:
    """Return a valid ``question`` as JSON, with only the fields that `fault` has checked."""
    return json.dumps({name: question[name] for name in FIELDS}).encode()


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
    if isinstance(component, gr.Image | gr.File):
        return value is None or _has_files(component, value)
    return True


def _has_files(component: Any, value: Any) -> bool:
    """Return whether ``value`` is a file in Gradio's form, or a list of files if the component takes several."""
    try:
        component.data_model.model_validate(value)
    except ValidationError:
        return False
    return all(isinstance(one.get("path"), str) for one in (value if isinstance(value, list) else [value]))
