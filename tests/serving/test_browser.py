"""The pages that need no server: opened as files in a real browser, with the models of this pipeline."""

import base64
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, expect
from strokes import STROKES

from stages.landmarks import photographs
from stages.mnist import drawing
from stages.serving.browser import __main__ as browser_pages

pytestmark = pytest.mark.long

SECONDS = 120_000  # ms: the machine may have other work to do

ANSWERS = """async (texts) => {
  const answers = [];
  for (const text of texts) {
    const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
    answers.push(await page.answer(await page.images(MAKE)));
  }
  return answers;
}"""


@pytest.fixture(scope="module")
def written(pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(pipeline)
        browser_pages.main(browser_pages.with_page(), folder)
    return folder


@pytest.fixture
def opened(browser: Browser, written: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page of a project, as a file. It asks for nothing else."""
    with browser.new_context() as context:
        context.set_default_timeout(SECONDS)
        page = context.new_page()
        asked: list[str] = []
        faults: list[str] = []
        page.on("request", lambda one: asked.append(one.url))
        page.on("pageerror", lambda one: faults.append(str(one)))
        page.on("console", lambda one: faults.append(one.text) if one.type == "error" else None)
        page.goto((written / f"{request.param}.html").as_uri())
        page.evaluate("() => page.network.then(() => true)")
        yield page
        assert not faults
        assert all(url.startswith(("file:", "blob:")) for url in asked)


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def compared(project: str, answers: list[dict[str, list[float]]]) -> None:
    """The answers are evaluate's, for the whole test set."""
    evaluation = ROOT / "reports" / project / "evaluation"
    expected = np.load(evaluation / "probabilities.npy")
    found = np.array([answer["probabilities"] for answer in answers])
    assert (found.argmax(1) == expected.argmax(1)).all()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    familiarity = np.array([answer["familiarity"][0] for answer in answers])
    np.testing.assert_allclose(familiarity, np.load(evaluation / "familiarity.npy"), atol=1e-3)


@pytest.mark.parametrize("opened", ["mnist"], indirect=True)
def test_digits_get_the_answers_of_evaluate(opened: Page) -> None:
    with np.load(ROOT / "data/mnist/features/test.npz") as test:
        texts = [text(image.tobytes()) for image in test["images"]]
    compared("mnist", opened.evaluate(ANSWERS.replace("MAKE", "bytes"), texts))


@pytest.mark.parametrize("opened", ["landmarks"], indirect=True)
def test_photographs_get_the_answers_of_evaluate(opened: Page) -> None:
    """From their files: the browser decodes and turns them as Pillow does."""
    raw = ROOT / "data/landmarks/raw"
    index = photographs.read_index(raw, "test")
    with photographs.open_archive(raw, "test") as archive:
        texts = [text(archive.read(photograph.path)) for photograph in index]
    answers = []
    for start in range(0, len(texts), 20):
        answers += opened.evaluate(ANSWERS.replace("MAKE", "new Blob([bytes])"), texts[start : start + 20])
    compared("landmarks", answers)


@pytest.mark.parametrize("opened", ["landmarks"], indirect=True)
def test_photographs_of_unknown_things_are_refused(opened: Page, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    pictures = {
        "none of the photographs": Image.fromarray(noise),
        "a single colour": Image.new("RGB", (64, 64), "red"),
        "more than 20 times the other": Image.fromarray(np.tile(noise, (1, 15, 1))),
    }
    for number, (words, picture) in enumerate(pictures.items()):
        picture.save(tmp_path / f"{number}.png")
        opened.set_input_files("#file", tmp_path / f"{number}.png")
        expect(opened.locator("#answer")).to_contain_text(words, timeout=SECONDS)
    (tmp_path / "text.png").write_text("no picture")
    opened.set_input_files("#file", tmp_path / "text.png")
    expect(opened.locator("#answer")).to_contain_text("This is not a picture", timeout=SECONDS)


def inks() -> Iterator[np.ndarray]:
    """Drawings of the digits, with lines of several widths and at several places: uint8 (H, W)."""
    for width in (3, 9, 30):
        for number, strokes in STROKES.items():
            sheet = Image.new("L", (280, 240))
            draw = ImageDraw.Draw(sheet)
            for stroke in strokes:
                draw.line([(20 + 8 * number + x * 110, 30 + y * 170) for x, y in stroke], 200 + number, width)
            yield np.asarray(sheet.reduce(2) if width == 9 else sheet)


@pytest.mark.parametrize("opened", ["mnist"], indirect=True)
def test_ink_is_converted_as_in_python(opened: Page) -> None:
    for ink in inks():
        height, width = ink.shape
        script = f"""(text) => Array.from(page.centred(
          Float32Array.from(atob(text), (one) => one.charCodeAt(0) / 255), {width}, {height}))"""
        found = np.array(opened.evaluate(script, text(ink.tobytes())), np.uint8).reshape(28, 28)
        np.testing.assert_array_equal(found, drawing.centred(np.asarray(ink, np.float32) / np.float32(255)))


@pytest.mark.parametrize("opened", ["mnist"], indirect=True)
def test_nine_of_ten_drawn_digits_are_read_and_other_drawings_are_refused(opened: Page, tmp_path: Path) -> None:
    right = 0
    for digit, strokes in STROKES.items():
        draw(opened, strokes)
        answer = opened.locator("#answer")
        expect(answer).to_have_text(re.compile("%|none of the digits"), timeout=SECONDS)
        right += answer.inner_text().split()[0] == str(digit)
    assert right >= 9
    draw(opened, [[(0, 0), (1, 1)], [(1, 0), (0, 1)], [(0, 0.5), (1, 0.5)], [(0.5, 0), (0.5, 1)]])
    expect(opened.locator("#answer")).to_contain_text("The drawing looks like none of the digits", timeout=SECONDS)
    Image.new("L", (30, 28)).save(tmp_path / "wide.png")
    opened.set_input_files("#file", tmp_path / "wide.png")
    expect(opened.locator("#answer")).to_contain_text("30 x 28 pixels: expected 28 x 28", timeout=SECONDS)
    with np.load(ROOT / "data/mnist/features/test.npz") as test:
        buffer = io.BytesIO()
        Image.fromarray(test["images"][0]).save(buffer, "PNG")
        label = str(test["labels"][0])
    opened.set_input_files("#file", {"name": "digit.png", "mimeType": "image/png", "buffer": buffer.getvalue()})
    expect(opened.locator("#answer li").first).to_contain_text(label, timeout=SECONDS)


def draw(page: Page, strokes: list[list[tuple[float, float]]]) -> None:
    """Draw on the empty canvas with the mouse, slower than the page answers."""
    page.get_by_role("button", name="Clear").click()
    box = page.locator("#canvas").bounding_box()
    assert box
    for stroke in strokes:
        for number, (x, y) in enumerate(stroke):
            page.mouse.move(box["x"] + 70 + x * 130, box["y"] + 45 + y * 190)
            if not number:
                page.mouse.down()
        page.mouse.up()


def test_an_unavailable_or_wrong_package_is_reported(pipeline: Path, tmp_path: Path) -> None:
    def told(path: str) -> str:
        environment = {"XDG_CACHE_HOME": str(tmp_path), "PATH": path, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "stages.serving.browser", "mnist"]
        done = subprocess.run(command, cwd=pipeline, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr

    assert "npm not found" in told(str(tmp_path))
    cached = tmp_path / "onnxruntime-web" / "onnxruntime-web-1.30.0.tgz"
    cached.parent.mkdir()
    cached.write_bytes(b"another file")
    assert f"{cached} is not the file of onnxruntime-web@1.30.0" in told(str(tmp_path))
