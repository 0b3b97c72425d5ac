"""Temporary folder for Ray's logs and sockets."""

import tempfile
from pathlib import Path


def new_folder() -> Path:
    """Create an empty folder with a short path: a socket's path has at most 107 bytes, and Ray adds about 80."""
    return Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp" if len(tempfile.gettempdir()) > 20 else None))  # noqa: S108
