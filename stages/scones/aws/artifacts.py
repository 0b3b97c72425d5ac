"""The files that the stack is made from, as objects named by their content: unchanged files are not uploaded again."""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import png  # type: ignore[import-untyped]

HERE = Path(__file__).parent
TEMPLATE = HERE / "template.yaml"
ARTIFACTS_TEMPLATE = HERE / "artifacts.yaml"
FUNCTIONS = HERE / "functions"
IMPORTED = (HERE.parent / "endpoint" / "answer.py", Path(png.__file__))
"""Modules that the functions import: of this project, and pypng, which is one file."""

WORKFLOW = HERE / "workflow.asl.json"
FAN_OUT = HERE / "fan_out.asl.json"


class Artifact(NamedTuple):
    """An object to upload: its key and its bytes."""

    key: str
    content: bytes


def named(name: str, content: bytes) -> Artifact:
    """Return ``content`` as an object whose key is its digest and ``name``."""
    return Artifact(f"{hashlib.sha256(content).hexdigest()[:16]}/{name}", content)


def zipped(contents: Mapping[str, bytes]) -> bytes:
    """Return a zip of files by their names. The same contents give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(contents.items()):
            entry = zipfile.ZipInfo(name)  # dated 1980, the format's first date
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def of_the_workflow() -> dict[str, Artifact]:
    """Return the objects made from this folder's files, by the template's parameters that name them."""
    modules = {path.name: path.read_bytes() for path in [*FUNCTIONS.glob("*.py"), *IMPORTED]}
    return {
        "FunctionsKey": named("functions.zip", zipped(modules)),
        "WorkflowKey": named(WORKFLOW.name, WORKFLOW.read_bytes()),
        "FanOutKey": named(FAN_OUT.name, FAN_OUT.read_bytes()),
    }
