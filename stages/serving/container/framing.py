"""Several requests in the body of one, and their answers: between a server and its models, where a request has its price, too.

A line of JSON, a list with an object a part, each with its ``length``; then the parts' bytes, one after the other.
"""

import json
from collections.abc import Sequence
from typing import Any

CONTENT_TYPE = "application/x-parts"

Part = tuple[dict[str, Any], bytes]


def join(parts: Sequence[Part]) -> bytes:
    """What `split` takes apart again."""
    head = json.dumps([about | {"length": len(content)} for about, content in parts])
    return b"".join([head.encode(), b"\n", *(content for _, content in parts)])


def split(content: bytes) -> list[Part]:
    """Raises ValueError if ``content`` is not what `join` makes."""
    head, _, rest = content.partition(b"\n")
    parts, start = [], 0
    for about in json.loads(head):
        parts.append((about, rest[start : start + about["length"]]))
        start += about["length"]
    if start != len(rest):
        raise ValueError(f"the parts have {start} bytes, the message has {len(rest)}")
    return parts
