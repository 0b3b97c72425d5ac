"""Photographs that a served model of landmarks was not sure of: from its requests over a browser to the training data."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Change
from model_servers import archive, record, running, server
from numpy.typing import NDArray
from phones import phone
from pictures import saved
from playwright.sync_api import Browser, expect

from stages.common import files
from stages.common.errors import InputError
from stages.landmarks import photographs, prepare
from stages.landmarks.feedback import served

CLASSES = ["bridge", "hagia_sophia", "tower"]
INFERENCE = """
import io, json
from PIL import Image
CONTENT_TYPES = ("image/*", "application/octet-stream")
def model_fn(model_dir):
    return None
def input_fn(body, content_type):
    return Image.open(io.BytesIO(body)).convert("RGB").getpixel((0, 0)), "several" in content_type
def predict_fn(item, model):
    return item
def output_fn(prediction, accept):
    (red, green, blue), several = prediction
    row = [red / (red + green), green / (red + green), 0]
    rows = {"probabilities": [row], "known": [blue < 200], "familiarity": [(200 - blue) / 200]}
    boxes = {"boxes": [[0, 0, 1, 1]]} if several else {}
    return json.dumps({"classes": ["bridge", "hagia_sophia", "tower"], "places": [[None, None]] * 3, **rows, **boxes})
"""
"""As sure of bridge as the first pixel is red, of hagia_sophia as it is green; it does not know what is blue."""


def photograph(red: int, green: int, blue: int = 0, side: int = 90) -> NDArray[np.uint8]:
    """Noise, another one for each colour; the pixels at its corner have that colour."""
    random = np.random.default_rng([red, green, blue])
    pixels: NDArray[np.uint8] = random.integers(0, 256, (side, side + 30, 3), np.uint8)
    pixels[:16, :16] = red, green, blue
    return pixels


@pytest.fixture
def project(workspace: Path, change: Change) -> Path:
    """A project with prepared photographs of a tree of three classes, and a served model."""
    change({"data.source": "given", "data.landmarks.photographs.test_fraction": 0.4})
    for number, name in enumerate(CLASSES):
        folder = workspace / "given/landmarks" / name
        folder.mkdir(parents=True)
        for count in range(5):
            (folder / f"{count}.png").write_bytes(saved(photograph(number + 1, count + 1, 7, 24), "PNG"))
    prepare.main()
    archive(workspace / "models/landmarks/export", INFERENCE)
    return record(workspace)


def table() -> list[dict[str, str]]:
    with (prepare.LABELLED / "labels.csv").open() as file:
        return list(csv.DictReader(file))


def in_raw() -> dict[str, set[tuple[str, int]]]:
    """Name and label of the photographs in each part."""
    indices = {part: photographs.read_index(prepare.RAW, part) for part in ("train", "test")}
    return {part: {(one.path, one.label) for one in index} for part, index in indices.items()}


@pytest.mark.slow
def test_unsure_pictures_are_labelled_and_trained_on(
    project: Path, browser: Browser, capsys: pytest.CaptureFixture[str]
) -> None:
    before = in_raw()
    copy = Path("given/landmarks/tower/0.png").read_bytes()
    sent = [
        saved(photograph(240, 10), "JPEG", quality=95),  # sure
        saved(photograph(140, 110), "JPEG", quality=95),
        saved(photograph(60, 190), "PNG"),
        saved(photograph(255, 1, 255), "WEBP"),  # sure, but it does not know such photographs
        copy,
    ]
    with (
        server(project, "--project=landmarks", "--capture=kept") as one,
        one.client(headers={"Content-Type": "image/*"}) as client,
    ):
        for body, query in [*((body, "") for body in sent), (sent[1], ""), (sent[1], "?several=true")]:
            assert client.post(f"/models/landmarks/invocations{query}", content=body).status_code == 200
    command = [sys.executable, "-m", "stages.feedback.labelling", "landmarks", "--captures=kept", "--port=0"]

    def address(process: object) -> str | None:
        said = (project / "label.log").read_text()
        return said.split("look at: ")[1].split()[0] if "Ctrl-C" in said else None

    with running(command, project, project / "label.log", address, PYTHONPATH=str(ROOT)) as one, phone(browser) as page:
        assert "4 new pictures of kept in data/landmarks/labelled\n4 pictures to look at" in one.log.read_text()
        page.goto(one.address)

        def shows(words: str) -> None:
            expect(page.locator(".verdict")).to_have_text(words)

        def press(key: str, words: str) -> None:
            page.keyboard.press(key)
            shows(words)

        shows("the model said bridge, 99.6 %; it looks like none of the classes")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        press("3", "the model said bridge, 56.0 %")
        press("2", "the model said bridge, 75.0 %")
        press("u", "the model said bridge, 56.0 %")
        press("y", "the model said bridge, 75.0 %")
        page.get_by_role("button", name="tower").click()
        shows("the model said hagia sophia, 76.0 %")
        page.keyboard.press("s")
        expect(page.get_by_text("Nothing is left to label")).to_be_visible()
    assert [(row["label"], row["known"]) for row in table()] == [
        ("bridge", "yes"),
        ("", "yes"),
        ("tower", "no"),
        ("tower", "yes"),
    ]
    capsys.readouterr()
    prepare.main()
    after = in_raw()
    names = [row["file"] for row in table()]
    assert after["test"] == before["test"]
    assert after["train"] - before["train"] == {(f"bridge/labelled_{names[0]}", 0), (f"tower/labelled_{names[2]}", 2)}
    with photographs.open_archive(prepare.RAW, "train") as zipped:
        assert zipped.read(f"bridge/labelled_{names[0]}") == sent[1]
    parts = {"found": 18, "train": 11, "valid": 0, "test": 6}
    left_out = {"tables": 0, "unusable": 0, "copies": 1, "others": 0}
    assert files.read_json(prepare.RAW / "counts.json") == parts | left_out
    assert "18 files (3 of them labelled captured ones): 11 training, 6 test photographs" in capsys.readouterr().out
    with (prepare.RAW / "refused.csv").open() as file:
        refused = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    assert refused == {f"data/landmarks/labelled/{names[3]}": "same picture as tower/0.png"}


def test_an_unknown_label_is_reported_in_one_line(project: Path) -> None:
    prepare.LABELLED.mkdir(parents=True)
    (prepare.LABELLED / "a.jpg").write_bytes(saved(photograph(9, 9), "JPEG"))
    (prepare.LABELLED / "labels.csv").write_text("file,label\na.jpg,castle\n")
    expected = r"labels\.csv: line 2, column label: found 'castle', expected bridge, hagia_sophia, tower"
    with pytest.raises(InputError, match=expected):
        prepare.main()
    assert served.classes() == CLASSES
