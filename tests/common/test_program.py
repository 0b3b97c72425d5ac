"""A stage as a program: help, exit codes, one-line errors."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

STAGE = '''"""Turns nothing into nothing."""
from stages.common.errors import InputError
from stages.common.program import run
def main() -> None:
    {body}
if __name__ == "__main__":
    run(main)
'''

Shell = Callable[[str, str], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Runs a line of a shell, in which $STAGE is a program whose `main` has the given body."""

    def run(body: str, line: str) -> "subprocess.CompletedProcess[str]":
        (tmp_path / "stage.py").write_text(STAGE.format(body=body))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "STAGE": f"{sys.executable} -m stage"}
        return subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return run


def test_help_is_the_module_s_docstring(shell: Shell) -> None:
    done = shell("pass", "$STAGE --help")
    assert done.returncode == 0
    assert "usage: python -m stage" in done.stdout
    assert "Turns nothing into nothing." in done.stdout


def test_an_input_error_is_one_line_and_exit_code_1(shell: Shell) -> None:
    done = shell('raise InputError("a.csv: line 3:\\n  found x")', "$STAGE")
    assert (done.returncode, done.stderr) == (1, "error: a.csv: line 3: found x\n")


def test_a_defect_keeps_its_traceback(shell: Shell) -> None:
    done = shell("raise KeyError('x')", "$STAGE")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


CHECKPOINT = """__import__("torch"); from stages.common.training import checkpoints as c
    import torch; c.write(__import__("pathlib").Path("x.pt"), {"a": torch.zeros(100_000)})"""
EXPORT = """import torch; from pathlib import Path; from stages.common.models import inputs, torch_files
    class Network(torch.nn.Linear):
        def forward(self, images): return super().forward(images.flatten(1).float())
    form, example = inputs.Form((14, 15), None, None, "images"), torch.zeros(2, 16, 17, dtype=torch.uint8)
    torch_files.save_exported(Network(14 * 15, 200), form, example, Path("x.pt2"), [], [])"""
WRAPPED = """import os
    try: open("x.bin", "wb").write(bytes(200_000))
    except OSError: raise ValueError("a library's error")"""
ARRAY = """import numpy; numpy.save("x.npy", numpy.zeros(200_000))"""
COPY = """import shutil; shutil.copytree("large", "copy")"""
FULL = """__import__("pathlib").Path("/dev/full").write_text("x")"""

LIMITED = "a file would be larger than this shell allows: raise the limit (`ulimit -f unlimited`)"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (FULL, "no space left on the disk: free some"),
        *((body, LIMITED) for body in (CHECKPOINT, EXPORT, WRAPPED, ARRAY, COPY)),
    ],
    ids=["full", "checkpoint", "export", "wrapped", "array", "copy"],
)
def test_a_full_disk_and_a_file_size_limit_are_reported_in_one_line(
    tmp_path: Path, shell: Shell, body: str, words: str
) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "large/file").write_bytes(bytes(200_000))
    done = shell(body, "ulimit -f 100; exec $STAGE")  # blocks of 1 KB
    assert done.returncode == 1
    assert done.stderr == f"error: {words} and run this again, no partial files remain\n"


@pytest.mark.parametrize("lines", [2, 200_000])
def test_a_reader_that_stops_early_is_no_error(shell: Shell, lines: int) -> None:
    body = f"__import__('time').sleep(0.5); print(*range({lines}), sep=chr(10))"
    done = shell(body, "set -o pipefail; $STAGE | head -c 0")
    assert (done.returncode, done.stderr) == (141, "")  # as any other program's, which SIGPIPE ends


@pytest.mark.parametrize("there", ["", "yaml"])
def test_missing_packages_are_reported_in_one_line(workspace: Path, tmp_path: Path, there: str) -> None:
    """`.venv/bin/dvc repro` runs the system's Python unless the environment is activated."""
    if there:
        (tmp_path / "packages").mkdir()
        (tmp_path / "packages/yaml").symlink_to(Path(yaml.__file__).parent)
    environment = {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path / 'packages'}", "PATH": os.environ["PATH"]}
    command = [sys.executable, "-S", "-m", "stages.check"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"error: {sys.executable} does not have the package " in done.stderr
    assert "activate the environment (. .venv/bin/activate)" in done.stderr


ONE_SIDE = "take one side with `git checkout --ours {name}`, run `make repro`"


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("params.yaml", "edit it"),
        ("metrics/mnist.yaml", "edit it"),
        ("data/scones/labelled/labels.csv", "edit it"),
        ("dvc.lock", ONE_SIDE),
        ("reports/mnist/metrics.json", ONE_SIDE),
    ],
)
def test_a_merge_conflict_is_reported_in_one_line(tmp_path: Path, shell: Shell, name: str, remedy: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> theirs\n")
    done = shell("pass", "$STAGE")
    expected = f"error: merge conflict in {name}: {remedy.format(name=name)}, then `git add {name}`\n"
    assert (done.returncode, done.stderr) == (1, expected)
