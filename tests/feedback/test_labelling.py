"""Labelling captured pictures: which come first, and the page in a real browser."""

import csv
import threading
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
from phones import phone
from PIL import Image
from playwright.sync_api import Browser, expect

from stages.common import files
from stages.common.errors import InputError
from stages.feedback import labelling, labels

CLASSES = ["bicycle", "motorcycle"]
TOKEN = "token-of-a-test"

ROWS = [  # file, label, predicted, confidence, held_out
    ("a.png", "bicycle", "bicycle", "0.9", ""),
    ("b.png", "motorcycle", "motorcycle", "0.8", ""),
    ("i.png", "bicycle", "bicycle", "0.95", ""),
    ("j.png", "bicycle", "bicycle", "0.97", ""),
    ("c.png", "bicycle", "motorcycle", "0.93", ""),  # may be a mistake
    ("d.png", "motorcycle", "bicycle", "0.55", ""),  # was not sure
    ("e.png", "", "motorcycle", "0.7", ""),
    ("f.png", "", "bicycle", "0.6", ""),
    ("g.png", "", "bicycle", "0.99", "yes"),
    ("h.png", "", "unicycle", "much", ""),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for name, *_ in ROWS:
        Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / name)
    files.write_rows(tmp_path / "labels.csv", ["file", "label", "predicted", "confidence", "held_out"], ROWS)
    return tmp_path


def labels_of(folder: Path) -> dict[str, str]:
    with (folder / "labels.csv").open() as file:
        return {row["file"]: row["label"] for row in csv.DictReader(file)}


def test_likely_mistakes_come_first_then_the_least_sure(folder: Path) -> None:
    found = labels.items(folder, CLASSES)
    assert [item.file for item in found] == ["c.png", "h.png", "f.png", "e.png", "g.png"]
    assert [item.doubtful for item in found] == [True, False, False, False, False]
    assert [item.suggestion for item in found] == ["motorcycle", "", "bicycle", "motorcycle", ""]


def test_a_label_changes_one_row_and_is_refused_for_a_picture_that_is_gone(folder: Path) -> None:
    before = (folder / "labels.csv").read_text()
    assert labels.write(folder, "e.png", "bicycle") == ""
    assert (folder / "labels.csv").read_text() == before.replace("e.png,,", "e.png,bicycle,")
    assert labels.write(folder, "e.png", "") == "bicycle"
    assert (folder / "labels.csv").read_text() == before
    with pytest.raises(InputError, match=r"found 0 rows of z\.png, expected one: load the page again"):
        labels.write(folder, "z.png", "bicycle")
    assert (folder / "labels.csv").read_text() == before


@pytest.mark.slow
def test_pictures_are_labelled_with_keys(folder: Path, browser: Browser) -> None:
    server = uvicorn.Server(uvicorn.Config(labelling.application(folder, CLASSES, TOKEN), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.05)
            assert thread.is_alive()
        address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        for path in ("/label/", "/label/own/label.js", "/label/config"):
            assert httpx.get(address + path).status_code == 401
        with phone(browser) as page:
            page.goto(f"{address}/label/?token={TOKEN}")

            def shows(file: str) -> None:
                expect(page.locator(f"[data-label-file='{file}']")).to_be_attached()

            def press(key: str, file: str) -> None:
                page.keyboard.press(key)
                shows(file)

            shows("c.png")
            assert "token" not in page.url
            expect(page.get_by_text("which may be a mistake")).to_be_visible()
            expect(page.get_by_text("the model said motorcycle, 93.0 %")).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            press("2", "h.png")
            assert labels_of(folder)["c.png"] == "motorcycle"
            press("s", "f.png")
            page.get_by_role("button", name="bicycle").first.click()
            shows("e.png")
            press("u", "f.png")
            assert labels_of(folder)["f.png"] == ""
            press("1", "e.png")
            page.get_by_role("button", name="undo").click()
            shows("f.png")
            press("1", "e.png")
            press("2", "g.png")
            expect(page.get_by_text("no suggestion")).to_be_visible()
            press("1", "")
            given = {"c.png": "motorcycle", "e.png": "motorcycle", "f.png": "bicycle", "g.png": "bicycle"}
            assert labels_of(folder) == {name: label for name, label, *_ in ROWS} | given
    finally:
        server.should_exit = True
        thread.join()
