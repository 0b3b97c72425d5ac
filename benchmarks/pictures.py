"""Take README's pictures: the page of the served models, and a comparison of experiments.

    dvc repro && python -m benchmarks.pictures

Compares the published results of mnist, so the comparison does not depend on the experiments of this checkout. Needs
Chromium (Debian: apt install chromium).
"""

import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from benchmarks import server
from benchmarks.serving_page import chromium
from stages.common.program import run

FOLDER = Path("docs/pictures")
COMPARED = Path("reports/compare/index.html")
WIDTH, HEIGHT = 1200, 760
"""Size of the window in pixels."""


def served(browser: Browser, path: Path) -> None:
    """Take a picture of the page with the answer to an example of landmarks."""
    with server.running(Path.cwd(), "--project", "landmarks", "--project", "mnist") as (address, _):
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(f"{address}/page")
        page.get_by_role("tab", name="Landmarks").click()
        page.locator("#landmarks-picture-3").click()
        page.locator("#landmarks-result .bars").wait_for()
        page.wait_for_timeout(1000)  # for the picture to be shown
        page.screenshot(path=path)


def compared(browser: Browser, path: Path) -> None:
    """Take a picture of the comparison's first table."""
    subprocess.run([sys.executable, "-m", "stages.experiments.compare", "mnist"], check=True)
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    page.goto(COMPARED.absolute().as_uri())
    table = page.locator("table").first.bounding_box()
    assert table
    page.set_viewport_size({"width": int(table["x"] * 2 + max(WIDTH, table["width"])), "height": HEIGHT})
    page.screenshot(path=path, full_page=True, clip={**table, "height": HEIGHT})


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        served(browser, FOLDER / "page.png")
        compared(browser, FOLDER / "comparison.png")
        browser.close()
    print(f"{FOLDER}/page.png and {FOLDER}/comparison.png are README's pictures")


if __name__ == "__main__":
    run(main)
