"""make review: what a branch changes is shown, and a guarded figure that fell is named and fails."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkouts import Checkout, commit, set_parameters
from conftest import ROOT
from dvc.repo import Repo
from markdown_it import MarkdownIt
from small_photographs import contents

from stages.common import markdown
from stages.common.errors import InputError
from stages.common.results import metrics
from stages.common.results.metrics import Metric
from stages.experiments import review
from stages.experiments.reviewing import comment, guards

ACCURACY = Path("reports/mnist/metrics.json")


class Project(Checkout):
    """A clone with this checkout's results and DVC cache, as the working folder."""

    def commit(self) -> None:
        self.run("git add -A && git commit -qm change --allow-empty")

    def set(self, path: Path = ACCURACY, **figures: object) -> None:
        """Change figures of a file as if evaluate had measured them: DVC takes what lies there for the stages' results."""
        content = self.json(str(path)) | figures
        content = {name: value for name, value in content.items() if value is not None}
        (self.root / path).write_text(json.dumps(content, indent=2) + "\n")
        with Repo(str(self.root)) as repo:
            commit(repo, "mnist")

    def report(self) -> str:
        return (self.root / "reports/review/comment.md").read_text()


@pytest.fixture(scope="module")
def clone(results: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(results.copy(tmp_path_factory.mktemp("review")).root)
    project.commit()
    project.run("git tag start")
    return project


@pytest.fixture
def project(clone: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.chdir(clone.root)
    yield clone
    clone.run("git checkout -q -f -B main start && git clean -fdq")
    Repo(str(clone.root)).checkout(force=True)


def failures(capsys: pytest.CaptureFixture[str], base: str = "main") -> list[str]:
    """What `review` ends with: its errors."""
    capsys.readouterr()
    code = 0
    try:
        review.main(base)
    except SystemExit as end:
        code = int(end.code or 0)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert bool(errors) == bool(code)
    return errors


def refused(base: str, words: str, project: str | None = None) -> None:
    with pytest.raises(InputError, match=words):
        review.main(base, project)


def test_a_worse_model_is_named_and_fails_and_its_pictures_are_shown(project: Project) -> None:
    set_parameters(project.root / "params.yaml", {"mnist.epochs": 1})
    for name in ("models/mnist/trained", "reports/mnist/evaluation"):
        (project.root / name / "other").write_text("of another training")
    plot = Path("reports/mnist/plots/confusion_matrix.png")
    (project.root / plot).unlink()  # before it is written: DVC's cache may have the same file
    shutil.copy(plot.with_name("history_1.png"), plot)
    before = project.json(str(ACCURACY))["accuracy"]
    accuracy = before - 0.1
    project.set(accuracy=accuracy, loss=0.5)
    done = project.tried("make -o .venv/.installed review BASE=main")
    assert done.returncode
    line = f"error: mnist accuracy fell from {before:.2%} to {accuracy:.2%}, by {(before - accuracy) * 100:.2f} points"
    assert f"{line}: tolerance 0.50 points".replace("%", " %") in done.stderr.splitlines()
    text = project.report()
    assert text.startswith("## Review: 2 of ")
    assert f"| reports/mnist/metrics.json | accuracy | {round(before, 5)}" in text
    assert "| params.yaml | mnist.epochs | 15 " in text
    assert "| train@mnist | mnist.epochs |" in text
    assert "Changed only through other stages: deploy@mnist, evaluate@mnist, export@mnist, plot@mnist." in text
    html = MarkdownIt().enable("table").render(text)
    folder = project.root / "reports/review"
    for which in ("before", "after"):
        name = f"pictures/mnist-plots-confusion-matrix-{which}.png"
        assert f'<td><img src="{name}" alt="{which}" /></td>' in html
    assert (folder / "pictures/mnist-plots-confusion-matrix-before.png").read_bytes() == (ROOT / plot).read_bytes()
    assert (folder / name).read_bytes() == (project.root / plot).read_bytes()
    assert "bikes-plots" not in text
    page = (folder / "index.html").read_text()
    assert "mnist accuracy fell from" in page
    assert page.count("<img") == text.count("![") == page.count('src="data:image/png;base64,')


def test_a_fall_of_one_percent_fails_whatever_later_commits_the_base_branch_has(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.run("git checkout -q -b change")
    before = json.loads(ACCURACY.read_text())["accuracy"]
    project.set(accuracy=before * 0.99)
    (error,) = failures(capsys)
    fell = f"{before:.2%} to {before * 0.99:.2%}".replace("%", " %")
    assert error == f"error: mnist accuracy fell from {fell}, by {before:.2f} points: tolerance 0.50 points"
    first = contents(review.REPORT)
    assert len(first) == 2
    project.commit()  # committed or not is the same
    project.run("git checkout -q main && git rm -q metrics/mnist.yaml reports/mnist/metrics.json")
    project.commit()
    project.run("git checkout -q change")
    failures(capsys)
    assert contents(review.REPORT) == first  # to the byte
    review.main("main", "bikes")  # alone: nothing of it changed
    assert "mnist" not in project.report()
    refused("main", "'bike' is not a project: expected one of bikes", "bike")


def test_unchanged_and_improved_metrics_pass_and_loosened_guards_are_reported(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failures(capsys) == []
    assert project.report().startswith("## Review: nothing changed\n")
    path = project.root / "metrics/mnist.yaml"
    path.write_text(path.read_text().replace("better: higher, tolerance: 0.005", "better: higher, tolerance: 0.5"))
    project.set(accuracy=0.99)
    assert failures(capsys) == []
    text = project.report()
    assert "guarded metrics pass" in text.splitlines()[0]
    assert "| 99.00 % |" in text
    assert "- **Guards:** the guard of mnist accuracy was changed: higher is better, tolerance 0.005; now " in text


def test_results_of_other_code_are_reported_first_and_fail(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    parameters = project.root / "params.yaml"
    parameters.write_text(parameters.read_text().replace("  epochs: 15\n", "  epochs: 16\n", 1))
    errors = failures(capsys)
    assert errors == ["error: the results do not match this code (check, train@mnist): run `dvc repro` first"]
    words = "the results do not match this code"
    assert project.report().startswith(f"## Review: {words}\n\n- **{words}")


def test_values_of_parameters_are_shown_as_text(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = {
        "data.source": "![x](https://elsewhere.example/x.png)",
        "mnist.device": "[x](javascript:alert)",
        "mnist.network": "a | b",
        "mnist.optimizer": "*a*",
    }
    set_parameters(project.root / "params.yaml", hostile)
    assert failures(capsys)
    page = (project.root / "reports/review/index.html").read_text()
    for name, value in hostile.items():
        assert re.search(rf"<td>{name}</td>\n<td>\w+</td>\n<td>{re.escape(value)}</td>", page), name


def test_a_project_that_is_not_at_the_base_is_new_and_uncached_pictures_are_reported(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = yaml.safe_load((project.root / "dvc.lock").read_text())
    lock["stages"]["plot@mnist"]["outs"][0]["md5"] = f"{'0' * 32}.dir"
    for verb in ("plot", "evaluate"):
        del lock["stages"][f"{verb}@bikes"]
    (project.root / "dvc.lock").write_text(yaml.safe_dump(lock))
    project.run("git rm -q --cached reports/bikes/metrics.json reports/bikes/details.json")
    project.run("git add dvc.lock && git commit -qm base && git branch -q base")
    project.run("git checkout -q -f start && git reset -q --soft base")
    assert failures(capsys, "base") == []
    text = project.report()
    for words in (
        "| bikes | rmsle\\_test | - |",
        "| - | 0.0100 | new |",
        "| evaluate@bikes | new |",
        "Some of the base's plots are missing below: not in DVC's cache here: if there is a remote, run `dvc pull`",
        "| not in the cache | ![after](pictures/mnist-plots-history-1-after.png) |",
        "| did not exist | ![after](pictures/bikes-plots-residuals-after.png) |",
    ):
        assert words in text


def test_an_unknown_base_is_reported_in_one_line(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused("mian", "'mian' is not a revision")
    project.commit()
    copy = tmp_path / "copy"
    project.run(f"git clone -q --depth 1 file://{project.root} {copy}")
    monkeypatch.chdir(copy)
    refused("start", "'start' is not in this shallow clone: `git fetch --unshallow origin")
    project.run(f"cd {copy} && git fetch -q --unshallow origin '+refs/heads/*:refs/remotes/origin/*'")
    assert review.branch_point("start")[0].startswith("start at ")
    project.run(f"cd {copy} && git checkout -q -b change && git branch -q -D main")
    refused("main", "'main' is not a branch here: run make review BASE=origin/main")
    monkeypatch.chdir(tmp_path)
    refused("main", "this is not a git repository")


# Guards alone


SHARE = Metric(title="a", meaning="b", format=".2%", better="higher", tolerance=0.005)
ERROR = Metric(title="a", meaning="b", format=".4f", better="lower", tolerance=0.01)
BASE = {"data": "sample", "accuracy": 0.93, "error": 0.25}


@pytest.mark.parametrize(
    ("head", "verdicts", "failure"),
    [
        (BASE, ["same", "same"], ""),
        ({"accuracy": 0.925, "error": 0.26}, ["within tolerance"] * 2, ""),  # by all that is tolerated
        ({"accuracy": 0.94, "error": 0.2}, ["better", "better"], ""),
        (
            {"accuracy": 0.9249},
            ["fell", "same"],
            "p accuracy fell from 93.00 % to 92.49 %, by 0.51 points: tolerance 0.50 points",
        ),
        ({"error": 0.2701}, ["same", "rose"], "p error rose from 0.2500 to 0.2701, by 0.0201: tolerance 0.0100"),
        ({"accuracy": float("nan")}, ["not a number", "same"], "p accuracy is nan: expected a number"),
        ({"accuracy": float("-inf")}, ["not a number", "same"], "p accuracy is -inf: expected a number"),
        ({"accuracy": "0.99"}, ["not a number", "same"], "p accuracy is '0.99': expected a number"),
        ({"accuracy": True}, ["not a number", "same"], "p accuracy is True: expected a number"),
        ({"accuracy": None}, ["not a number", "same"], "p accuracy is -: expected a number"),
    ],
)
def test_verdicts(head: dict[str, Any], verdicts: list[str], failure: str) -> None:
    judged = guards.judge({"p": {"accuracy": SHARE, "error": ERROR}}, "p", BASE, BASE | head)
    assert [guard.verdict for guard in judged] == verdicts
    assert "".join(guard.failure for guard in judged) == failure
    assert all(len(guard.row()) == len(comment.GUARD_COLUMNS) for guard in judged)


def test_a_metric_of_other_data_or_a_missing_one_fails_and_a_new_one_passes() -> None:
    known = {"p": {"accuracy": SHARE}}
    (other,) = guards.judge(known, "p", BASE, BASE | {"data": "official"})
    assert other.failure == (
        "p accuracy was measured on other data ('sample' at the base, 'official' here): the values can't be compared"
    )
    (gone,) = guards.judge(known, "p", BASE, {"data": "sample"})
    assert gone.failure == "p accuracy is missing: it was 93.00 %"
    (new,) = guards.judge(known, "p", {}, BASE)
    assert (new.verdict, new.failure, new.changed) == ("new", "", True)
    assert guards.judge(known, "p", {}, {}) == []


def test_removed_or_looser_guards_are_reported() -> None:
    was = {"p": {"accuracy": {"tolerance": 0.005, "better": "higher"}, "error": {"tolerance": 0.01}, "size": {}}}
    assert guards.loosened(was, {"p": {"accuracy": SHARE}}) == ["p error is no longer guarded"]
    assert len(guards.loosened(was, {"p": {"accuracy": ERROR}})) == 2


def test_every_guarded_metric_has_a_better_direction() -> None:
    for project, named in metrics.read(ROOT).items():
        for name, metric in named.items():
            assert metric.tolerance is None or metric.better, f"{project} {name}"


@pytest.mark.parametrize("value", ["a|b", "**a**", "<b>a</b>", "[a](b)", "a\n# b", "&lt;", "`a`", "a_b_c", "~~a~~"])
def test_text_from_files_is_shown_without_markup(value: str) -> None:
    html = MarkdownIt("commonmark").enable("table").render(f"| a |\n|---|\n| {markdown.escaped(value)} |\n")
    shown = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
    assert f"<td>{shown}</td>" in html


def test_metrics_that_are_no_mapping_are_reported_in_one_line(project: Project) -> None:
    (project.root / ACCURACY).write_text("[1, 2]\n")
    refused("main", "reports/mnist/metrics.json of workspace is not a mapping")
    (project.root / ACCURACY).write_text("{")
    refused("main", "reports/mnist/metrics.json of workspace is not valid JSON")
