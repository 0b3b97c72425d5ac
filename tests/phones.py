"""A page in a browser as wide as a phone's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page


@contextmanager
def phone(browser: Browser, **options: Any) -> Iterator[Page]:
    """A page, which no error may meet."""
    with browser.new_context(viewport={"width": 390, "height": 780}, **options) as context:
        page, faults = context.new_page(), list[str]()
        page.set_default_timeout(60_000)  # ms: the machine may have other work to do
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(f"{said.text} {said.location}") if said.type == "error" else None)
        yield page
    assert faults == []
