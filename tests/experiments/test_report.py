"""What people look results and experiments up in: the page, DVC's plots, the table; in a clone with real experiments."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from checkouts import Checkout
from conftest import ROOT
from playwright.sync_api import Page, expect

from stages.common.results import metrics
from stages.experiments import report

REPORT = "python -m stages.experiments.report"
TABLE = "COLUMNS=120 python -m stages.experiments.table"
WIDTHS = [("light", 1400), ("dark", 390)]


@pytest.fixture(scope="module")
def built(results: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A clone with this checkout's results and its cache."""
    copy = results.copy(tmp_path_factory.mktemp("report"))
    durations = copy.root / "reports/durations"
    durations.mkdir(parents=True)
    (durations / "train@mnist.json").write_text(json.dumps({"seconds": 12.3}))
    return copy


@pytest.fixture(scope="module")
def tried(built: Checkout) -> Checkout:
    """The clone with an experiment that ran and one that waits."""
    built.experiment("sgd", {"mnist.optimizer": "sgd", "mnist.epochs": 2}, "train@mnist", "evaluate@mnist")
    built.run("dvc exp run --queue -n waiting -S mnist.batch_size=32 -S 'mnist.mlp.hidden=[64, 32]' evaluate@mnist")
    return built


def visit(page: Page, file: Path) -> None:
    page.goto(file.as_uri())
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth)")


# reports/index.html


def test_the_page_has_metrics_and_plots_of_each_project(built: Checkout, offline: Page) -> None:
    said = built.run(REPORT).splitlines()
    assert any(line.split()[:1] == ["reports/mnist/metrics.json"] for line in said)  # the metrics, as DVC shows them
    assert said[-1] == "reports/index.html"
    file = built.root / "reports/index.html"
    assert file.stat().st_size < 8e6
    written = file.read_bytes()
    built.run(REPORT)
    assert file.read_bytes() == written
    visit(offline, file)
    for scheme, width in WIDTHS:
        offline.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        offline.set_viewport_size({"width": width, "height": 900})
        assert offline.evaluate("document.documentElement.scrollWidth") == width
    expect(offline.get_by_text("Up to date:")).to_be_visible()
    expect(offline.get_by_text("They are committed.")).to_be_visible()
    for project, known in metrics.read(ROOT).items():
        section = offline.locator(f"section#{project}")
        measured = built.json(f"reports/{project}/metrics.json")
        for name in measured.keys() - {"data"}:
            shown = section.locator("tr", has_text=known[name].title).first
            expect(shown).to_contain_text(known[name].write(measured[name]))
        expect(section).to_contain_text("The embedded sample")
        pictures = list((built.root / f"reports/{project}/plots").glob("*.png"))
        expect(section.locator("figure")).to_have_count(len(pictures))
    small = offline.locator("section#mnist figure img").first
    small.click()
    large = offline.locator("dialog img")
    expect(large).to_be_visible()
    assert large.bounding_box()["width"] > small.bounding_box()["width"]  # type: ignore[index]
    offline.keyboard.press("Escape")
    expect(large).to_have_count(0)
    expect(offline.get_by_role("link", name="mnist").first).to_be_in_viewport()  # the navigation stays in view
    offline.locator("section#mnist summary", has_text="Model card").click()
    expect(offline.locator("section#mnist .card")).to_contain_text("test accuracy")
    expect(offline.locator("td[title='train@mnist']")).to_contain_text("12 s")
    expect(offline.locator("td[title='train@bikes']")).to_contain_text("-")


def test_differences_from_the_commit_are_marked(tried: Checkout, offline: Page) -> None:
    tried.run("dvc exp apply sgd")
    tried.run(REPORT)
    visit(offline, tried.root / "reports/index.html")
    expect(offline.get_by_text("They belong to the experiment sgd.")).to_be_visible()
    marked = offline.locator("section#mnist tr.differs")
    assert [re.split(r"\s+", row) for row in marked.all_inner_texts()] == [
        ["mnist.epochs", "2", "15"],
        ["mnist.optimizer", "sgd", "adam"],
    ]
    expect(offline.locator("section#mnist td.figure.bad")).not_to_have_count(0)  # two epochs are worse
    expect(offline.locator("section#bikes tr.differs")).to_have_count(0)
    tried.restore()


@pytest.mark.parametrize(("before", "now"), [(0.9, None), (None, 0.9), (None, None)])
def test_a_metric_without_a_value_is_a_dash(before: float | None, now: float | None) -> None:
    """No picture of scones may pass the threshold, and then their accuracy is none."""
    (shown,) = report.figures("scones", {"accuracy_at_threshold": now}, {"accuracy_at_threshold": before})
    assert shown["value"] == ("-" if now is None else "90.00%")
    assert shown["gain"] == 0


def test_a_partly_built_pipeline_has_a_page_that_names_what_is_missing(built: Checkout, offline: Page) -> None:
    for folder in ("models/scones/trained", "reports/scones/plots"):
        shutil.rmtree(built.root / folder)
    for path in (built.root / "reports/mnist").glob("*.json"):
        path.unlink()
    built.run(REPORT)
    visit(offline, built.root / "reports/index.html")
    expect(offline.get_by_text("Not complete:")).to_be_visible()
    for place, text in (
        (".note", "Missing: evaluate@mnist, deploy@mnist, train@scones, plot@scones"),
        (".note pre", "dvc repro evaluate@mnist deploy@mnist"),
        ("section#mnist", "No metrics yet. To compute them: dvc repro evaluate@mnist"),
        ("section#scones", "No plots yet. To draw them: dvc repro plot@scones"),
    ):
        expect(offline.locator(place).first).to_contain_text(text)
    expect(offline.locator("section#bikes figure")).not_to_have_count(0)
    built.restore()


# dvc plots


def test_dvc_s_plots_are_drawn_without_a_network(tried: Checkout, offline: Page) -> None:
    tried.run("dvc plots show")
    visit(offline, tried.root / "dvc_plots/index.html")
    drawings = offline.locator("svg.marks")
    expect(drawings).to_have_count(12)
    expect(offline.locator("main img")).to_have_count(len(list(tried.root.glob("reports/*/plots/*.png"))))
    points = offline.locator("[id^=bikes__predicted] svg g.mark-symbol.role-mark path")
    rows = (tried.root / "reports/bikes/evaluation/validation.csv").read_text().splitlines()
    expect(points).to_have_count(len(rows) - 1)

    tried.run("dvc plots diff HEAD sgd --targets 'mnist, loss over epochs' reports/mnist/plots")
    visit(offline, tried.root / "dvc_plots/index.html")
    lines = offline.locator("svg.marks g.mark-line path")
    expect(lines).to_have_count(4)  # training and validation of two revisions
    colours = lines.evaluate_all("lines => lines.map(line => line.getAttribute('stroke'))")
    assert len(set(colours)) == 2
    expect(offline.locator("main img")).not_to_have_count(0)


def test_the_page_of_dvc_s_plots_is_the_one_that_the_pinned_vega_gives(tmp_path: Path) -> None:
    renew = "python -m stages.experiments.pages.plots_template"
    Checkout(tmp_path, {"PYTHONPATH": str(ROOT)}).run(renew)
    page = Path(".dvc/plots.html")
    assert (tmp_path / page).read_bytes() == (ROOT / page).read_bytes(), f"{renew} renews it"


# the table of experiments


def test_the_table_shows_experiments_in_120_columns_with_nothing_cut(tried: Checkout) -> None:
    shown = tried.run(TABLE)
    assert max(len(line) for line in shown.splitlines()) <= 120
    assert "…" not in shown
    lines = [re.split(r"\s{2,}", line.strip()) for line in shown.splitlines()]
    assert lines[0] == ["mnist"]
    assert lines[1] == ["experiment", "state", "test accuracy", "test loss", "parameters", "training", "differs in"]
    found = {line[0]: line[1:] for line in lines[2:]}
    measured = tried.json("reports/mnist/metrics.json")
    figures = [metrics.read(ROOT)["mnist"][name].write(measured[name]) for name in ("accuracy", "loss")]
    assert found["main"][:4] == ["commit", *figures, "109,386"]
    assert found["sgd"][0] == "done"
    assert found["sgd"][-1] == "epochs=2"
    assert found["optimizer=sgd"] == []
    assert found["waiting"] == ["queued", "-", "-", "-", "-", "mlp.hidden=[64,32]"]


def test_dvc_s_own_table_is_readable_in_120_columns_where_start_says_so(tried: Checkout) -> None:
    (documented,) = re.findall(r"^\$ (dvc exp show .*)$", (ROOT / "docs/start.md").read_text(), re.MULTILINE)
    assert "'Created|" in documented
    one_change = documented.replace("'Created|", "'mnist.epochs|Created|")  # the experiment has two
    shown = tried.run(f"COLUMNS=120 {one_change} --no-pager --hide-queued")
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 120
    assert "…" not in shown
    titles = ["Experiment", "reports/mnist/metrics.json:accuracy", "reports/mnist/metrics.json:loss", "mnist.optimizer"]
    assert shown.splitlines()[1].split() == titles
    (row,) = [line.split() for line in shown.splitlines() if "[sgd]" in line]
    assert row[-1] == "sgd"
    assert all(len(value) <= len("0.12345") for value in row[-3:-1])


def test_dvc_s_table_in_python_has_the_columns_that_differ_where_start_says_so(tried: Checkout) -> None:
    (documented,) = re.findall(
        r"^```python\n(table = .*?)```", (ROOT / "docs/start.md").read_text(), re.MULTILINE | re.DOTALL
    )
    program = f"import dvc.api, pandas\n{documented}print(*table.columns)"
    columns = tried.run(f"python -c {shlex.quote(program)}").split()
    assert {"Experiment", "mnist.optimizer", "mnist.epochs", "reports/mnist/metrics.json:accuracy"} <= {*columns}
    assert not {"mnist.seed", "params.yaml", "models/mnist/trained"} & {*columns}
    assert len(columns) < 30  # the waiting experiment has no metrics, so those of all projects differ


def test_the_table_without_experiments_says_how_to_make_one(tried: Checkout) -> None:
    assert "dvc exp run -S" in tried.run(f"{TABLE} bikes")
    assert "expected one of bikes, landmarks" in tried.run(f"{TABLE} boats", check=False)
