"""`make repro` in a small repository: what a person sees, in a terminal and without one, and what is kept."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from checkouts import Checkout, processes_in
from conftest import ROOT

REPRO = f"PYTHONPATH={ROOT} {sys.executable} -m stages.experiments.repro"

PIPELINE = """
stages:
  check:
    cmd: python stage.py check all
    deps: [stage.py]
    outs: [check.all]
  prepare:
    foreach: [first, second]
    do:
      cmd: python stage.py prepare ${item}
      deps: [check.all, "${item}.txt"]
      outs: ["prepare.${item}"]
  train:
    foreach: [first, second]
    do:
      cmd: python stage.py train ${item}
      deps: [check.all, "prepare.${item}"]
      outs: ["train.${item}"]
"""

STAGE = """
import os, sys, time
from pathlib import Path
from tqdm import tqdm
verb, project = sys.argv[1:]
print(f"{verb} of {project} on {os.environ.get('OMP_NUM_THREADS')} threads", flush=True)
given = Path(f"{project}.txt")
text = given.read_text() if verb in ("check", "train") and given.exists() else ""
if text == "bad data":
    sys.exit(f"error: {given}: found bad data, expected good data")
if text == "defect":
    raise KeyError("a defect")
for _ in tqdm(range(20), desc="steps", disable=verb == "check"):
    time.sleep({"slow": 60, "seen": 0.05}.get(text, 0))
Path(f"{verb}.{project}").write_text(verb + project)
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    for name, text in {"dvc.yaml": PIPELINE, "stage.py": STAGE, "first.txt": "1", "second.txt": "2"}.items():
        (root / name).write_text(text)
    Checkout(root).run("git init -q && dvc init -q && dvc config core.analytics false")
    return root


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Checkout:
    """A repository of two projects with two stages each, of which none has run."""
    shutil.copytree(template, tmp_path / "project")
    return Checkout(tmp_path / "project")


def in_terminal(project: Checkout, command: str) -> str:
    """What ``command`` writes to a terminal of 80 columns."""
    return project.run(f"TERM=xterm COLUMNS=80 script -qec {shlex.quote(command)} /dev/null", check=False)


def with_make(project: Checkout) -> None:
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / name, project.root)


def test_without_a_terminal_each_start_and_end_of_a_stage_is_a_plain_line(project: Checkout) -> None:
    shown = project.run(f"unset OMP_NUM_THREADS; {REPRO} --jobs 2").splitlines()
    assert shown[0] == "2 projects, 2 at a time. Logs: reports/logs/<project>.log"
    for name in ("first ", "second"):
        own = [re.sub(r"\d+ s$", "N s", line) for line in shown[1:] if line.startswith(f"{name} |")]
        assert own == [
            f"{name} | prepare: started (1 of 2)",
            f"{name} | prepare: done in N s",
            f"{name} | train: started (2 of 2)",
            f"{name} | train: done in N s",
            f"{name} | done: 2 stages run in N s",
        ]
    assert len(shown) == 11
    log = (project.root / "reports/logs/first.log").read_text()
    assert "> python stage.py train first\n" in log
    assert log.count("steps: ") == 2  # of each bar its last state
    assert log.count("20/20") == 2
    assert f"train of first on {max(1, len(os.sched_getaffinity(0)) // 2)} threads" in log
    assert "up to date" in project.run("dvc status")

    again = project.run(f"{REPRO} --jobs 2").splitlines()[1:]
    assert sorted(again) == ["first  | up to date", "second | up to date"]


def test_in_a_terminal_each_project_has_a_live_line(project: Checkout) -> None:
    (project.root / "first.txt").write_text("seen")
    shown = in_terminal(project, f"{REPRO} --jobs 1")
    assert project.returncode == 0
    assert re.search(r"first   train +\d+ %  0:\d\d left", shown)
    assert re.search(r"second  waiting", shown)
    assert " | " not in shown
    assert "20/20" not in shown
    *_, first, second, _ = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).split("\n")
    assert re.fullmatch(r"first   done: 2 stages run in \d+ s", first)
    assert re.fullmatch(r"second  done: 2 stages run in \d+ s", second)


@pytest.mark.parametrize("shown_in", ["a pipe", "a terminal"])
def test_a_failure_shows_its_error_and_the_log_and_the_other_project_is_done(project: Checkout, shown_in: str) -> None:
    (project.root / "first.txt").write_text("bad data")
    command = f"{REPRO} --jobs 2"
    shown = project.run(command, check=False) if shown_in == "a pipe" else in_terminal(project, command)
    assert project.returncode == 1
    assert "first  | error: first.txt: found bad data, expected good data" in shown
    assert "first  | ERROR: failed to reproduce 'train@first'" in shown
    assert "first  | full log: reports/logs/first.log" in shown
    assert "> python stage.py" not in shown
    assert shown.count("error: first failed, see above: fix the error, then run the same command to resume") == 1
    assert "done: 2 stages run" in shown
    assert "failed at train" in shown


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("dvc.yaml", "stages: [", "'./dvc.yaml' is invalid"),
        ("all.txt", "bad data", "error: all.txt: found bad data, expected good data"),
    ],
)
def test_a_bad_parameter_or_pipeline_stops_before_any_project(
    project: Checkout, file: str, text: str, words: str
) -> None:
    (project.root / file).write_text(text)
    shown = project.run(REPRO, check=False)
    assert project.returncode == 1
    assert words in shown
    assert "projects" not in shown
    assert " | " not in shown


def test_a_defect_shows_the_end_of_the_log(project: Checkout) -> None:
    (project.root / "first.txt").write_text("defect")
    shown = project.run(f"OMP_NUM_THREADS=7 {REPRO} --jobs 1", check=False)
    assert project.returncode == 1
    assert "first  | Traceback (most recent call last):" in shown
    assert "first  | KeyError: 'a defect'" in shown
    log = (project.root / "reports/logs/first.log").read_text()
    assert "train of first on 7 threads" in log  # the user's number, not a fraction of the cores
    assert "first  | full log: reports/logs/first.log" in shown


def test_an_interrupt_ends_all_and_the_same_command_resumes(project: Checkout) -> None:
    (project.root / "first.txt").write_text("slow")
    command = project.command(f"exec env {REPRO} --jobs 2")
    with subprocess.Popen(**command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert any("first  | train: started" in line for line in running.stdout)
        second = project.tried(REPRO)
        assert second.returncode == 1
        assert second.stderr == (
            f"error: make repro is already running in another terminal (process {running.pid}): wait for it, or stop it there\n"
        )
        with_make(project)
        assert "error: make repro is running here" in project.tried("make -o .venv/.installed restore").stderr
        time.sleep(0.5)
        running.send_signal(signal.SIGTERM)  # taken as Ctrl-C is
        rest = running.stdout.read()
    assert running.returncode == 130
    assert "failed" not in rest
    assert processes_in(project.root) == []
    (project.root / "first.txt").write_text("1")
    assert "first  | done" in project.run(REPRO)


def test_restore_recovers_from_any_state_even_if_another_machine_made_the_results(project: Checkout) -> None:
    with_make(project)
    project.run(f"{REPRO} && git config user.name t && git config user.email t@example.org")
    own = project.hashes()["train.first"]
    lock = project.root / "dvc.lock"
    lock.write_text(lock.read_text().replace(own, "f" * 32))
    project.run("git add -A && git commit -qm 'results of another machine'")
    project.run("git checkout . && dvc checkout", check=False)
    assert project.returncode  # the content is not here

    (project.root / "first.txt").write_text("an edit")
    (project.root / "prepare.second").unlink()
    (project.root / "train.second").write_text("half")
    lock.write_text(f"<<<<<<< HEAD\n{lock.read_text()}")
    project.run(f"PYTHONPATH={ROOT} make -o .venv/.installed restore JOBS=1")
    assert "up to date" in project.run("dvc status")
    assert (project.root / "first.txt").read_text() == "1"
    assert (project.root / "train.first").read_text() == "trainfirst"
    assert project.hashes()["train.first"] == own


def test_a_conflict_in_dvc_lock_is_resolved_as_documented(project: Checkout) -> None:
    project.run("git config user.name t && git config user.email t@example.org && dvc repro -q && git add -A")
    project.run("git commit -qm start && git checkout -qb other")
    for branch, name in (("other", "first"), ("-", "second")):
        project.run(f"git checkout -q {branch} && echo {name} >{name}.txt && dvc repro -q && git commit -qam {name}")
    lock = project.root / "dvc.lock"
    project.run("git merge other", check=False)
    if "<<<<<<<" not in lock.read_text():  # git may merge what lies apart
        lock.write_text(f"<<<<<<< HEAD\n{lock.read_text()}=======\n>>>>>>> other\n")
    shown = project.run(REPRO, check=False)
    assert shown.startswith("error: merge conflict in dvc.lock: take one side with `git checkout --ours dvc.lock`")
    documented = (ROOT / "docs/when-a-run-fails.md").read_text().partition("git checkout --ours dvc.lock reports\n")[2]
    assert documented.startswith("make repro\ngit add --all && git commit\n")
    project.run(f"git checkout --ours dvc.lock && {REPRO} && git add --all && git commit -qm merged")
    assert "up to date" in project.run("dvc status")
    assert (project.root / "first.txt").read_text() + (project.root / "second.txt").read_text() == "first\nsecond\n"
