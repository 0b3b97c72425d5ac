"""Text from outside (class names, parameters, paths) in Markdown: shown as it is, on one line, without markup."""

import re


def escaped(text: str) -> str:
    """Return ``text`` for a paragraph, a list or a cell of a table."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", line)


def code(text: str) -> str:
    """Return ``text`` as code. A table also needs a backslash before each `|` in it."""
    line = " ".join(text.split())
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    space = " " if "`" in line else ""
    return f"{fence}{space}{line}{space}{fence}"
