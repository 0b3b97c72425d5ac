"""The documentation as tests read it: its commands, and the files that its worked examples write."""

import re
from pathlib import Path
from typing import NamedTuple

from conftest import ROOT
from markdown_it import MarkdownIt
from markdown_it.token import Token

MARKDOWN = MarkdownIt("commonmark").enable("table")


class Block(NamedTuple):
    """A fenced block of a worked example: the file that it belongs to, and whether it is that file or changes it."""

    file: str
    is_change: bool
    text: str


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def tokens(document: Path) -> list[Token]:
    return MARKDOWN.parse(document.read_text(encoding="utf-8"))


def shown(document: Path) -> list[tuple[str, list[str]]]:
    """The commands in the document's `console` blocks, without comments, each with the lines that are shown below it.

    A command is what follows `$ `; a line of it that ends in a backslash goes on in the next.
    """
    found: list[tuple[str, list[str]]] = []
    for token in tokens(document):
        if token.type == "fence" and token.info == "console":
            for line in token.content.replace("\\\n", "").splitlines():
                if line.startswith("$ "):
                    found.append((re.sub(r"\s+# .*| +$", "", line[2:]), []))
                elif line:
                    found[-1][1].append(line)
    return found


def blocks(document: Path) -> list[Block]:
    """The blocks below a bold file name: `python` and others are the whole file, `diff` changes it."""
    found = []
    file = ""
    for token in tokens(document):
        if token.type == "inline" and (named := re.fullmatch(r"\*\*`([\w./]+)`\*\*", token.content)):
            file = named[1]
        elif token.type == "heading_open":
            file = ""
        elif token.type == "fence" and file and token.info != "console":
            found.append(Block(file, token.info == "diff", token.content))
    return found


def apply(document: Path, root: Path) -> None:
    """Do to the checkout at ``root`` what a reader of the ``document`` does."""
    for block in blocks(document):
        path = root / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(changed(path.read_text(), block.text) if block.is_change else block.text)


def changed(text: str, difference: str) -> str:
    """``text`` after a ``difference`` whose lines begin with a space, a minus or a plus; it has to fit in one place."""
    lines = difference.splitlines(keepends=True)
    before = "".join(line[1:] if line.strip() else "\n" for line in lines if line[0] != "+")
    after = "".join(line[1:] if line.strip() else "\n" for line in lines if line[0] != "-")
    count = f"\n{text}".count(f"\n{before}")
    assert count == 1, f"{count} places for\n{difference}"
    return f"\n{text}".replace(f"\n{before}", f"\n{after}")[1:]
