"""What a module of this project imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

from conftest import ROOT


def imports(file: Path) -> Iterator[tuple[str, str]]:
    """Each module that a file imports, at its top or in a function, and a name that it takes from it, or "" for the module."""
    package = ".".join(file.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1, file
            module = ".".join(filter(None, [package if node.level else "", node.module]))
            yield from ((module, alias.name) for alias in node.names)
