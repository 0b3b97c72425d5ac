"""A stage as a program: help, exit codes, one-line errors."""

from pathlib import Path

from conftest import Run

STAGE = '''"""Turns nothing into nothing."""
from stages.common.errors import InputError
from stages.common.program import run
def main() -> None:
    {body}
if __name__ == "__main__":
    run(main)
'''


def test_help_is_the_module_s_docstring(tmp_path: Path, python: Run) -> None:
    (tmp_path / "stage.py").write_text(STAGE.format(body="pass"))
    done = python("-m", "stage", "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "usage: python -m stage" in done.stdout
    assert "Turns nothing into nothing." in done.stdout


def test_an_input_error_is_one_line_and_exit_code_1(tmp_path: Path, python: Run) -> None:
    (tmp_path / "stage.py").write_text(STAGE.format(body='raise InputError("a.csv: line 3:\\n  found x")'))
    done = python("-m", "stage", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "error: a.csv: line 3: found x\n"


def test_a_defect_keeps_its_traceback(tmp_path: Path, python: Run) -> None:
    (tmp_path / "stage.py").write_text(STAGE.format(body="raise KeyError('x')"))
    done = python("-m", "stage", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_full_disk_is_told_in_a_line(tmp_path: Path, python: Run) -> None:
    (tmp_path / "stage.py").write_text(STAGE.format(body='__import__("pathlib").Path("/dev/full").write_text("x")'))
    done = python("-m", "stage", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no space left on the disk: ")
    assert done.stderr.count("\n") == 1
