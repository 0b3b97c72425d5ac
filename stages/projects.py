"""Find the projects: the packages of `stages` that have an `about.py`. Nothing else lists them.

A project's `about.py` holds `ABOUT`, and where single values of params.yaml don't show what is wrong, a function `check(data, train, source)`.
Its `config.py` holds the classes `Data`, `Train` and `Deploy`, its `page/tab.py`, if there is one, its tab of the page.
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
    """The projects in alphabetical order."""
    return tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/about.py")))


def about(project: str) -> About:
    """The facts about ``project``."""
    facts: About = import_module(f"stages.{project}.about").ABOUT
    return facts


def config(project: str) -> ModuleType:
    """The module with the classes of its parameters."""
    return import_module(f"stages.{project}.config")


def check(project: str, data: Any, train: Any, source: str) -> None:
    """Raise InputError if the parameters of ``project`` don't fit each other, or what they name is missing."""
    checked = getattr(import_module(f"stages.{project}.about"), "check", None)
    if checked:
        checked(data, train, source)


def tab(project: str) -> ModuleType | None:
    """The module of its tab of the page; None if the page shows the general one."""
    name = f"stages.{project}.page"
    return import_module(f"{name}.tab") if find_spec(name) else None
