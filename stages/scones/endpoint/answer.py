"""Read an endpoint's answer to one picture: a probability for each class.

The exported model's functions write such answers, the workflow's functions and the monitor read them with this module.
The workflow's functions run in Lambda, so it imports only the standard library.
"""

import csv
import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

TOLERANCE = 1e-3
"""Largest difference of the probabilities' sum from 1. Clients may have rounded them."""


class Answer(NamedTuple):
    """``probabilities`` has one value per class. ``known``: whether the model knows such pictures, None if it doesn't tell."""

    probabilities: tuple[float, ...]
    known: bool | None


def distribution(values: object, classes: int = 0) -> tuple[float, ...]:
    """Return ``values`` if they are a probability distribution over ``classes`` classes, 0 for any number from 2.

    Raises ValueError with what was found and what is expected.
    """
    expected = f"expected a list of probabilities, {f'{classes} of them' if classes else 'at least 2'}"
    if not isinstance(values, list) or len(values) < 2 or (classes and len(values) != classes):
        raise ValueError(f"found {_short(values)}, {expected}")
    for value in values:
        if type(value) not in (int, float):  # a bool is an int for isinstance
            raise ValueError(f"found {_short(value)} in {_short(values)}, expected numbers")
        if not 0 <= value <= 1:  # also true for NaN
            raise ValueError(f"found {_short(value)} in {_short(values)}, expected probabilities from 0 to 1")
    if abs(math.fsum(values) - 1) > TOLERANCE:
        raise ValueError(f"found {_short(values)} with a sum of {math.fsum(values):.6g}, expected a sum of 1")
    return tuple(map(float, values))


def read(body: bytes, content_type: str = "application/json", classes: Sequence[str] = ()) -> Answer:
    """Return the answer to one picture in ``body``. It has a probability for each of ``classes``, or any number without them.

    JSON: a list of probabilities, or a list with one such list. A verbose answer: an object with ``probabilities`` as
    such lists, perhaps ``classes`` with as many names, and ``known``. CSV: one line. Raises ValueError with what was
    found and what is expected.
    """
    try:
        text = body.decode("utf-8-sig")
        if "csv" in content_type.partition(";")[0].lower():
            content: Any = [[float(field) for field in row] for row in csv.reader(text.splitlines()) if row]
        else:
            content = json.loads(text)
            content = json.loads(content) if isinstance(content, str) else content  # some clients encode twice
    except (ValueError, csv.Error, RecursionError):
        raise ValueError(f"found the answer {_short(body)} as {content_type}, expected probabilities") from None
    known, count = None, len(classes)
    if isinstance(content, dict):
        names, known = content.get("classes"), _only(content.get("known"), (bool, type(None)))
        if classes and names not in (None, list(classes)):
            raise ValueError(f"found the classes {_short(names)} in the answer, expected {_short(list(classes))}")
        count = count or (len(names) if isinstance(names, list) else 0)
        content = content.get("probabilities")
        if known is not None and type(known) is not bool:
            raise ValueError(f"found known = {_short(known)} in the answer, expected true or false")
    return Answer(distribution(_only(content, (list,)), count), known)


def _only(content: Any, kinds: tuple[type, ...]) -> Any:
    """Return the only item of a list over pictures, whose items are of ``kinds``; return other content unchanged.

    Raises ValueError unless there is one picture.
    """
    while isinstance(content, list) and content and isinstance(content[0], kinds):
        if len(content) != 1:
            raise ValueError(f"found {len(content)} answers to one picture, expected one")
        content = content[0]
    return content


def _short(value: object) -> str:
    return str(value)[:80]
