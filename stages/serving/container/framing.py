"""Put several requests or answers into one body, between a server and its models: this saves HTTP requests.

The first line is a JSON list with one object per part, each with its ``length``. Then come the bytes of the parts in order.
"""

import json
from collections.abc import Sequence
from typing import Any

CONTENT_TYPE = "application/x-parts"

Part = tuple[dict[str, Any], bytes]


def join(parts: Sequence[Part]) -> bytes:
    """Join ``parts`` into one body. `split` is the inverse."""
    head = json.dumps([about | {"length": len(content)} for about, content in parts])
    return b"".join([head.encode(), b"\n", *(content for _, content in parts)])


def split(content: bytes) -> list[Part]:
    """Return the parts that `join` put into ``content``. Raise ValueError for any other content."""
    head, _, rest = content.partition(b"\n")
    try:
        parts_about = json.loads(head)
    except RecursionError:
        raise ValueError("the head is nested too deeply") from None
    if not isinstance(parts_about, list) or not all(map(_has_length, parts_about)):
        raise ValueError("the head is not a list of objects with a length each")
    parts, start = [], 0
    for about in parts_about:
        parts.append((about, rest[start : start + about["length"]]))
        start += about["length"]
    if start != len(rest):
        raise ValueError(f"the parts have {start} bytes, the message has {len(rest)}")
    return parts


def _has_length(about: Any) -> bool:
    return isinstance(about, dict) and type(about.get("length")) is int and about["length"] >= 0
