"""Measure how long a person waits for the page: first paint in a browser with an empty cache, from a new server.

    dvc repro && python -m benchmarks.serving_page [--rounds 5]

Each round starts the server with this checkout's exports. It opens the page as soon as the server responds, while the
models are still loading, and again when they are ready. Needs Chromium (Debian: apt install chromium).
"""

import argparse
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Playwright, sync_playwright

from benchmarks import measuring, server
from stages.common.errors import InputError
from stages.serving.process import ENVIRONMENT

# These allow to run as root and without a screen, and prevent connections to Google's services.
OPTIONS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def chromium(playwright: Playwright) -> Browser:
    """Start Chromium. Raises InputError if it is not installed."""
    path = shutil.which("chromium")
    if path is None:
        raise InputError("chromium not found: install it (Debian: apt install chromium)")
    return playwright.chromium.launch(executable_path=path, args=OPTIONS)


def first_paint(browser: Browser, address: str) -> float:
    """Open the page with an empty cache. Returns the seconds until its first text or image."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{address}/page/")
    while (milliseconds := page.evaluate(PAINT)) is None:  # the page's policy forbids wait_for_function
        time.sleep(0.02)
    context.close()
    return float(milliseconds) / 1000


def one_round(browser: Browser) -> dict[str, float]:
    begin = time.perf_counter()
    with server.started(Path.cwd()) as (address, _):
        server.wait(address, "/models")
        accepts = time.perf_counter() - begin
        loading = first_paint(browser, address)
        server.wait(address)
        ready = time.perf_counter() - begin
        loaded = first_paint(browser, address)
    return {
        "accepts requests": accepts,
        "first paint, models loading": loading,
        "models ready": ready,
        "first paint, models ready": loaded,
    }


def main(rounds: int) -> dict[str, Any]:
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        done = [one_round(browser) for _ in range(rounds)]
        browser.close()
    medians = {what: statistics.median(one[what] for one in done) for what in done[0]}
    for what, seconds in medians.items():
        print(f"{what:30}{seconds:>7.2f} s")
    return {"threads": int(ENVIRONMENT["OMP_NUM_THREADS"]), "rounds": done, "seconds": medians}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)


if __name__ == "__main__":
    measuring.run(main, arguments)
