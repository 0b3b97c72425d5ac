"""Find the projects: the packages of `stages` that have an `about.py`. Nothing else lists them.

A project's `about.py` has `ABOUT`. It may have a function `check(data, train, source)`, which refuses parameters that don't fit each
other. `config.py` has the classes `Data`, `Train` and `Deploy`. `page/tab.py`, if it exists, has the project's tab of the page,
and `feedback/served.py` reads captured requests for drift and labelling.
"""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from stages.common.facts import About


@cache
def names() -> tuple[str, ...]:
    """Return the projects in alphabetical order."""
    return tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/about.py")))


def about(project: str) -> About:
    """Return the facts about ``project``."""
    facts: About = import_module(f"stages.{project}.about").ABOUT
    return facts


def config(project: str) -> ModuleType:
    """Return the module with the classes of the project's parameters."""
    return import_module(f"stages.{project}.config")


def check(project: str, data: Any, train: Any, source: str) -> None:
    """Raise InputError if the parameters of ``project`` don't fit each other, or name something that is missing."""
    checked = getattr(import_module(f"stages.{project}.about"), "check", None)
    if checked:
        checked(data, train, source)


def feedback(project: str) -> ModuleType | None:
    """Return the module that reads captured requests for drift and labelling, or None."""
    return import_module(f"stages.{project}.feedback.served") if project in with_feedback() else None


def with_feedback() -> list[str]:
    """Return the projects that have such a module. It is not imported, which may take seconds."""
    return [name for name in names() if find_spec(f"stages.{name}.feedback")]


def tab(project: str) -> ModuleType | None:
    """Return the module of the project's tab of the page, or None if the page shows the general one."""
    name = f"stages.{project}.page"
    return import_module(f"{name}.tab") if find_spec(name) else None
