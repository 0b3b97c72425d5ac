"""Stages that `quick_dvc` forks from one process: they see and leave what stages started by DVC do."""

import json
import sys
from pathlib import Path

import pytest
from checkouts import Checkout
from conftest import ROOT

pytestmark = pytest.mark.slow

PIPELINE = """
stages:
  first: {cmd: python -m stages.toy.first, deps: [stages/toy/first.py], outs: [first.json]}
  second: {cmd: python -m stages.toy.second, deps: [first.json], outs: [second.json]}
  failing: {cmd: python -m stages.toy.failing, deps: [second.json]}
  killed: {cmd: python -m stages.toy.killed}
"""
SEEN = """
import json, os, sys
from pathlib import Path
from stages import projects
from stages.common.program import run

def main():
    own = sorted(name for name in sys.modules if name.startswith("stages"))
    files = {str(getattr(module, "__file__", None)) for module in sys.modules.values()}
    own += sorted(file for file in files if file.startswith(f"{os.getcwd()}/stages/"))  # a checkpoint's name depends on them
    main = sys.modules["__main__"]
    seen = [own, main.__spec__.name, main.__file__, sys.argv[1:], sys.path[:2], os.environ["DVC_STAGE"], os.getcwd()]
    Path(f"{main.__spec__.name.split('.')[-1]}.json").write_text(json.dumps(seen))
    print("preloaded", "colorsys" in sys.modules, projects.__name__ in sys.modules)

run(main)
"""
FILES = {
    "dvc.yaml": PIPELINE,
    "stages/toy/__init__.py": "",
    "stages/toy/about.py": "from stages.common.facts import About\n"
    "ABOUT = About('', '', '', '', accepts=(), packages=('colorsys', 'no_such_package'))",
    "stages/toy/first.py": SEEN,
    "stages/toy/second.py": SEEN,
    "stages/toy/failing.py": "import sys; sys.exit('error: a reason')",
    "stages/toy/killed.py": "import os; os.kill(os.getpid(), 9)",
}


def test_forked_stages_behave_like_separate_processes(tmp_path: Path) -> None:
    # A shell that becomes its command: others wait, and report a signal.
    project = Checkout(tmp_path, {"SHELL": "/bin/bash"})
    (tmp_path / "stages/toy").mkdir(parents=True)
    for module in (ROOT / "stages").iterdir():
        (tmp_path / "stages" / module.name).symlink_to(module)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    project.run("git init -q && dvc init -q && dvc config core.analytics false")
    found = {}
    for dvc in ("dvc", f"{sys.executable} -m stages.experiments.running.quick_dvc"):
        shown = project.run(f"{dvc} repro --force --single-item first second")
        files = [(tmp_path / name).read_text() for name in ("first.json", "second.json", "dvc.lock")]
        failed = [project.tried(f"{dvc} repro --single-item {stage}") for stage in ("failing", "killed")]
        assert shown.count("preloaded True True") == (0 if dvc == "dvc" else 2)
        found[dvc] = files, [(one.returncode, one.stderr) for one in failed]
    plain, forked = found.values()
    assert forked == plain
    assert "error: a reason" in plain[1][0][1]
    assert json.loads(plain[0][1])[5] == "second"
