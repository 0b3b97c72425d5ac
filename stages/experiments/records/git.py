"""Run git in a repository."""

import subprocess
from pathlib import Path

from stages.common.errors import InputError


def git(*arguments: str, folder: Path | None = None) -> str:
    """Return what git prints in ``folder``, by default the working folder. Raises InputError with git's message if it fails."""
    done = _run(arguments, folder)
    if done.returncode:
        raise InputError(f"git {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout.rstrip()  # lines of `git status` may begin with a space


def find(*arguments: str) -> str | None:
    """Return what git prints; None if it fails, for example because a name does not exist."""
    done = _run(arguments)
    return None if done.returncode else done.stdout.rstrip()


def _run(arguments: tuple[str, ...], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
