"""The program in C++ that classifies a picture by an exported model: built with the library of the installed torch."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image

from stages.landmarks import photographs
from stages.landmarks.export import originals

SOURCE = ROOT / "stages/serving/cpp"
TOOLS = "cmake", "g++"

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        pytest.skip(f"{' and '.join(missing)} not found: apt install cmake g++")
    build = tmp_path_factory.mktemp("cpp")
    (package,) = torch.__path__
    for command in (
        ["cmake", "-S", str(SOURCE), "-B", str(build), f"-DTORCH={package}"],
        ["cmake", "--build", str(build)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return build / "classify"


def said(program: Path, *arguments: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], env={}, capture_output=True, text=True, check=False)


def picture(project: str) -> np.ndarray:
    if project == "landmarks":
        raw = ROOT / "data/landmarks/raw"
        (pixels,) = originals(photographs.read_index(raw, "test")[:1])
        return pixels.permute(1, 2, 0).numpy()
    with np.load(ROOT / f"data/{project}/features/test.npz") as test:
        return np.asarray(test["images"][0])


@pytest.mark.parametrize("project", ["mnist", "landmarks", "scones"])
def test_the_cpp_program_predicts_as_evaluate(
    program: Path, pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: str
) -> None:
    monkeypatch.chdir(pipeline)
    Image.fromarray(picture(project)).save(tmp_path / "picture.ppm")
    model = pipeline / f"models/{project}/export/model.pt"
    done = said(program, model, tmp_path / "picture.ppm")
    assert (done.returncode, done.stderr) == (0, "")
    found = [line.rsplit(maxsplit=1) for line in done.stdout.splitlines()]
    expected = np.load(pipeline / f"reports/{project}/evaluation/probabilities.npy")[0]
    names = torch.jit.load(model).class_names
    order = np.argsort(-expected, kind="stable")[: len(found)]
    assert found[0][0] == names[order[0]]
    np.testing.assert_allclose([float(value) for _, value in found], expected[order], atol=1e-4)
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    assert "libtorch_cpu" in linked
    assert "libpython" not in linked
    assert "torch_python" not in linked


def test_invalid_pictures_are_reported_in_a_sentence(program: Path, pipeline: Path, tmp_path: Path) -> None:
    model = pipeline / "models/mnist/export/model.pt"
    (tmp_path / "text").write_text("no picture")
    Image.new("RGB", (28, 28), "red").save(tmp_path / "red.ppm")
    (tmp_path / "short.pgm").write_bytes(b"P5 28 28 255\n" + bytes(100))
    cases = {
        "expected two arguments": [model],
        "is no binary PPM or PGM file": [model, tmp_path / "text"],
        "is cut off": [model, tmp_path / "short.pgm"],
        "expected uint8": [model, tmp_path / "red.ppm"],
    }
    for words, arguments in cases.items():
        done = said(program, *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("error: ")
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert words in done.stderr
