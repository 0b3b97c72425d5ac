"""make compare: experiments beside each other on one page, in a clone in which two were run for real."""

import io
import json
import re
from contextlib import chdir, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import vl_convert
from checkouts import Checkout
from playwright.sync_api import Page, expect

from stages.common.errors import InputError
from stages.common.results.metrics import Metric
from stages.experiments import compare
from stages.experiments.comparing import charts, variants
from stages.experiments.comparing.tables import elsewhere, expectations
from stages.experiments.pages.page import VEGA_LITE
from stages.experiments.records import published, recipes
from stages.experiments.records.published import Published
from stages.experiments.records.runs import Run

FOLDER = Path("reports/compare")


def page_of(clone: Checkout, project: str, experiments: list[str] | None = None) -> str:
    """Write a project's page in this process; what the program says."""
    with chdir(clone.root), redirect_stdout(io.StringIO()) as said:
        compare.main([project], experiments)
    return said.getvalue()


@pytest.fixture(scope="module")
def clone(results: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A clone that has the results of this checkout."""
    return results.copy(tmp_path_factory.mktemp("compare"))


@pytest.fixture(scope="module")
def compared(clone: Checkout) -> Path:
    """The page of mnist with a variant of two seeds, which start from the commit before the last one."""
    for name, seed in (("short", 0), ("short-seed1", 1)):
        settings = {"mnist.epochs": 1, "mnist.seed": seed}
        clone.experiment(name, settings, "train@mnist", "evaluate@mnist")
    clone.run("git", "commit", "--quiet", "--allow-empty", "--message", "later")
    said = page_of(clone, "mnist")
    count = len(list((clone.root / published.PUBLISHED).glob("mnist-*.json")))
    of = f"2 experiments and {count} published results, as {count + 2} variants on 2 data sets"
    assert re.match(f"mnist: commit [0-9a-f]{{7}}, the working tree, {of}", said)
    assert "Page: reports/compare/index.html" in said
    assert "Next: " in said
    return clone.root / FOLDER


@pytest.fixture
def page(compared: Path, offline: Page) -> Page:
    """The page in a browser that has no network."""
    offline.emulate_media(color_scheme="light")
    offline.set_viewport_size({"width": 1280, "height": 720})
    offline.goto(f"file://{compared}/index.html")
    assert offline.locator("details.published[open]").count() == 0  # one's own results come first
    offline.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    return offline


def row(page: Page, data: str, label: str) -> list[str]:
    """The cells of a variant in the table of its data, without the box that hides it."""
    table = page.locator(
        f"h3:has(code:text-is('{data}')) + p + .group table, h3:has(code:text-is('{data}')) + .group table"
    )
    return table.locator(f"tbody tr:has(strong:text-is('{label}')) td").all_inner_texts()[1:]


def labels(page: Page) -> list[str]:
    """The variants of the first table, from top to bottom."""
    return page.locator(".group").first.locator("tbody td:nth-child(2) > strong").all_inner_texts()


def test_without_experiments_the_page_shows_published_results_and_how_to_run_one(clone: Checkout) -> None:
    said = page_of(clone, "bikes")
    assert ", the working tree, 0 experiments and 5 published results" in said
    assert "dvc exp run --temp -S bikes.seed=1 evaluate@bikes" in said
    text = (clone.root / FOLDER / "index.html").read_text()
    assert "There are no experiments of bikes to compare with" in text
    assert "make recipe NAME=" in text


@pytest.mark.slow
def test_seeds_are_one_row_with_their_spread(page: Page, clone: Checkout) -> None:
    experiments = re.findall(r"[0-9a-f]{40}", clone.dvc("exp", "list", "--all-commits", "--sha-only"))
    written = [clone.run("git", "show", f"{name}:reports/mnist/metrics.json") for name in experiments]
    reached = [json.loads(metrics)["accuracy"] for metrics in written]
    cells = row(page, "sample", "short")
    assert "short-seed1" in cells[0]
    assert cells[1] == "mnist.epochs=1"
    assert cells[2].split("\n") == [f"{sum(reached) / 2:.2%}", f"{min(reached):.2%} to {max(reached):.2%}"]
    assert cells[-1] == "0, 1"
    assert "sd 0." in row(page, "../shared/data", "mnist-adam")[2]


@pytest.mark.slow
def test_metrics_of_the_sample_are_not_compared_with_those_of_real_data(page: Page) -> None:
    sample, real = row(page, "sample", labels(page)[0]), row(page, "../shared/data", "mnist-adam")
    assert any(cell.split("\n") == ["test accuracy 97.25%", "not comparable: other data"] for cell in sample)
    assert "5,000 of MNIST's" in page.locator("body").inner_text()
    assert any(re.fullmatch(r"test accuracy 97\.25%\n\+0\.\d\d points, better", cell) for cell in real)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1400, 390])
def test_the_page_fits_its_window(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for chart in page.locator(".chart").all():
        chart.scroll_into_view_if_needed()
        chart.locator("svg.marks").wait_for()
    assert page.locator(".chart").count() == 8  # metrics, curves, confusion and costs, on the sample and on real data
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.slow
def test_the_table_is_sorted_and_a_variant_hidden_on_a_click(page: Page) -> None:
    """The baseline is first; the curves show the values under the pointer, in the colours of the reader's scheme."""
    first, other = labels(page)
    assert first.startswith("commit ")
    assert other == "short"
    title = page.locator(".group").first.get_by_role("button", name="test accuracy")
    title.click()
    assert labels(page) == [other, first]  # one epoch is worse than fifteen
    title.click()
    assert labels(page) == [first, other]
    curves = page.locator("[data-name=mnist-curves]").first
    lines = curves.locator("svg .mark-line path")
    curves.scroll_into_view_if_needed()
    drawing: Any = {"timeout": 200_000}  # ms: all charts are drawn again, which takes half a minute on a busy machine
    # Loss and accuracy: training and validation, of one and of two seeds.
    expect(lines).to_have_count(2 * (2 + 4), **drawing)
    page.emulate_media(color_scheme="dark")
    expect(curves.locator("svg text[fill='#e6ebf2']").first).to_be_attached(**drawing)
    page.get_by_label("show short in the charts").click()
    expect(lines).to_have_count(2 * 2, **drawing)
    curves.locator("svg.marks").hover(position={"x": 300, "y": 100})
    expect(page.locator("#vg-tooltip-element.visible")).to_contain_text("epoch")


@pytest.mark.slow
def test_the_page_is_one_file_and_the_same_the_second_time(compared: Path, clone: Checkout) -> None:
    before = {path.name: path.read_bytes() for path in compared.iterdir()}
    assert list(before) == ["index.html"]
    clone.run("python -m stages.experiments.compare mnist")
    assert {path.name: path.read_bytes() for path in compared.iterdir()} == before


@pytest.mark.slow
def test_only_named_experiments_are_compared_and_missing_files_are_reported(
    compared: Path, clone: Checkout, tmp_path: Path
) -> None:
    """In a clone whose cache lacks an experiment's files its row stays, and the page says what its pictures lack."""
    bare = clone.copy(tmp_path / "bare")
    bare.dvc("config", "--local", "cache.dir", str(tmp_path / "empty"))
    assert "1 experiment " in page_of(bare, "mnist", ["short"])
    text = (bare.root / FOLDER / "index.html").read_text()
    assert "short, seed 0: models/mnist/trained/0/epochs.csv is not in DVC&#39;s cache" in text
    assert "short-seed1" not in text


@pytest.mark.parametrize(
    ("project", "experiments", "message"),
    [
        ("bike", None, "'bike' is not a project: expected one of bikes, landmarks, mnist, scones"),
        ("mnist", ["lost"], "'lost' is not a revision: expected a branch, a tag, a commit or one"),
    ],
)
def test_unknown_names_are_reported_in_one_line(
    clone: Checkout, project: str, experiments: list[str] | None, message: str
) -> None:
    with pytest.raises(InputError, match=f"^{message}") as refused:
        page_of(clone, project, experiments)
    assert "\n" not in str(refused.value)


def test_a_damaged_published_result_is_reported_in_one_line(clone: Checkout, tmp_path: Path) -> None:
    path = clone.root / "reports/published/mnist-sgd.json"
    kept = path.read_text()
    path.write_text("{")
    with pytest.raises(
        InputError, match=r"^reports/published/mnist-sgd.json is damaged.*git checkout reports/published"
    ):
        page_of(clone, "mnist")
    path.write_text(kept)
    for content, problem in (("[]", "expected"), ('{"recipe": "some"}', "description is missing")):
        (tmp_path / "some.json").write_text(content)
        with pytest.raises(InputError, match=f"some.json: .*{problem}"):
            published.read("some", tmp_path)


ACCURACY = Metric(title="accuracy", meaning="share", format=".1%", better="higher")
KNOWN = {"accuracy": ACCURACY, "loss": Metric(title="loss", meaning="nats", format=".2f", better="lower")}


def variant(data: str, accuracies: list[float]) -> variants.Variant:
    bounds: Any = {"published": {"accuracy": 0.9}, "expected": {"accuracy": 0.92, "loss": 0.3}}
    recipe = recipes.Recipe.model_construct(project="mnist", description="", set={}, seeds=[0], **bounds)
    done = [Run(seed=seed, metrics={"accuracy": one, "loss": 0.4}, training={}) for seed, one in enumerate(accuracies)]
    return variants.Variant("some", "experiment", ["some"], data, {}, False, done, recipe)


def test_a_sweep_s_parameters_are_drawn_with_their_importance() -> None:
    """Here only the learning rate decides, and the kind of optimizer is no number."""
    rates = [10**-place for place in (1, 2, 3, 4, 1, 2, 3, 4)]
    trials = [
        replace(
            variant("sample", [0.9 - rate]), label=f"t{number}", settings={"mnist.rate": rate, "mnist.optimizer": kind}
        )
        for number, (rate, kind) in enumerate(zip(rates, ("adam", "sgd") * 4, strict=True))
    ]
    drawn = {chart.name: chart.spec for chart in charts.of(trials, KNOWN, {"mnist.rate": 1, "mnist.optimizer": "adam"})}
    assert set(drawn) == {"scores", "parameters", "parallel"}
    for spec in drawn.values():
        assert vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE).startswith("<svg")
    weights = {row["bar"]: row["importance"] for row in drawn["parallel"]["data"]["values"] if "bar" in row}
    assert weights["mnist.rate"] > 0.9
    assert sum(weights.values()) == pytest.approx(1, abs=1e-3)
    assert [panel["encoding"]["x"]["type"] for panel in drawn["parameters"]["concat"]] == ["quantitative", "nominal"]
    few = charts.of(trials[:2], KNOWN, {})  # too few to say anything of parameters
    assert [chart.name for chart in few] == ["scores"]


def test_expectations_are_compared_with_the_mean_on_real_data() -> None:
    judged = {one["text"]: one["reached"] for one in expectations(variant("official", [0.91, 0.93]), KNOWN)}
    assert judged == {"accuracy ≥ 92.0%": True, "loss ≤ 0.30": False}
    assert expectations(variant("sample", [0.99]), KNOWN) == []


def test_an_incomparable_metric_shows_the_reason_instead_of_a_difference() -> None:
    for why, shown in ((None, "-1.0 points"), ("over shuffled hours", "not comparable: over shuffled hours")):
        known = {"accuracy": ACCURACY.model_copy(update={"elsewhere": why})}
        assert elsewhere(variant("official", [0.89]), "accuracy", 0.9, known)["difference"] == shown


def test_a_published_result_s_settings_stay_as_they_are(tmp_path: Path) -> None:
    """A null in them is a value: the recipe's `threads: null` must not be lost."""
    texts: dict[str, Any] = dict.fromkeys(("recipe", "description", "command", "date", "hardware", "commit"), "x")
    settings = {"mnist": {"threads": None}}
    published.write(Published(**texts, settings=settings, published={}, runs=variant("official", [0.9]).runs), tmp_path)
    kept = published.read("x", tmp_path)
    assert kept is not None
    assert kept.settings == settings
    assert kept.runs[0].metrics["accuracy"] == 0.9
