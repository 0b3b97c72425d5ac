"""Drift of the inputs of all four models: rare false alarms, and real changes found, by the program and on its page."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from checkouts import make_workspace
from conftest import Run
from numpy.typing import NDArray
from phones import phone
from pictures import saved
from playwright.sync_api import Browser, expect

from stages import projects
from stages.bikes import featurize, prepare
from stages.bikes.hours.columns import NAMES
from stages.common import drift as tests
from stages.common import files
from stages.common.drift import Inputs
from stages.common.errors import InputError
from stages.common.vision.images import decode
from stages.engine.aws import captures
from stages.engine.aws.captures import Record
from stages.feedback import drift
from stages.landmarks import photographs
from stages.loop import stream

START = datetime(2026, 3, 1, tzinfo=UTC)
DRAWS = 20


def keep(folder: Path, bodies: Sequence[bytes], kind: str) -> None:
    """Write captured requests, one a minute."""
    folder.mkdir(parents=True)
    for number, body in enumerate(bodies):
        line = captures.line(kind, body, "application/json", b"{}", START + timedelta(minutes=number))
        (folder / f"{number:04}.jsonl").write_text(line)


def records(bodies: Sequence[bytes], kind: str = "application/octet-stream") -> list[Record]:
    return [Record(str(number), START, kind, body, "", b"") for number, body in enumerate(bodies)]


def drifted(inputs: Inputs, training: Inputs) -> list[str]:
    """The features that have drifted."""
    ours, theirs, _ = drift.measured(inputs, training)
    found = tests.compare(ours, theirs, (inputs.independent, training.independent))
    return [one.feature for one in found if one.drifted]


# The tests themselves


def test_false_alarms_are_as_rare_as_stated_even_with_repeated_values() -> None:
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(100):
        ours, theirs = random.normal(size=(4, 40)), random.normal(size=(4, 300))
        day, other = (random.choice(["a", "b", "c"], count, p=[0.6, 0.39, 0.01]) for count in (40, 300))
        hours, training = (
            {str(number): np.repeat(row, 24) for number, row in enumerate(numbers)} | {"kind": np.repeat(kinds, 24)}
            for numbers, kinds in ((ours, day), (theirs, other))
        )
        alarms += any(one.drifted for one in tests.compare(hours, training, (40, 300)))
    assert alarms <= 4


def test_shifts_of_numbers_and_categories_are_found_and_rare_categories_give_no_alarm() -> None:
    random = np.random.default_rng(0)
    training = {"number": random.normal(size=500), "kind": np.array(["a"] * 250 + ["b"] * 248 + ["c"] * 2)}
    shifted = {"number": random.normal(1, size=100), "kind": np.array(["a"] * 90 + ["b"] * 10)}
    assert [one.drifted for one in tests.compare(shifted, training)] == [True, True]
    rare = {"number": random.normal(size=100), "kind": np.array(["a"] * 50 + ["b"] * 48 + ["c"] * 2)}
    assert [one.drifted for one in tests.compare(rare, training)] == [False, False]
    plain = {"kind": np.array(["a"] * 30)}
    assert tests.compare(plain, plain)[0] == ("kind", 0.0, 1.0, False)


# Bikes, and the program


@pytest.fixture(scope="module")
def hours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with the features of bikes' sample."""
    root = tmp_path_factory.mktemp("hours")
    make_workspace(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        prepare.main()
        featurize.main()
        yield root


def requests(rows: pd.DataFrame) -> list[bytes]:
    """A request for each day of ``rows``."""
    days = rows[NAMES].groupby(rows["datetime"].dt.normalize())
    return [day.to_csv(index=False, date_format="%Y-%m-%d %H:%M:%S").encode() for _, day in days]


def test_bikes_days_of_the_test_part_are_no_drift(hours: Path) -> None:
    served = projects.feedback("bikes")
    assert served
    table = pd.read_parquet(served.HOURS)
    test = table[table["part"] == "test"]
    date, training, usual = test["datetime"].dt.normalize(), served.training(), served.usual()
    alarms = 0
    for seed in range(DRAWS):
        days = np.random.default_rng(seed).choice(date.unique(), 30, replace=False)
        inputs = served.measured(test[date.isin(days)].reset_index(drop=True), usual)
        assert inputs.independent == 30
        alarms += bool(drifted(inputs, training))
    assert alarms <= 1


def test_a_hot_month_is_found_a_usual_one_is_not_and_both_are_reported(
    hours: Path, capsys: pytest.CaptureFixture[str], browser: Browser
) -> None:
    table = pd.read_parquet("data/bikes/features/hours.parquet")
    july = table[table["datetime"].dt.month == 7]
    keep(Path("usual/bikes"), [*requests(july), *requests(july), b"datetime,temp\n1,2\n"], "text/csv")
    drift.main("bikes", "usual", fail=True)
    assert "bikes: no drift found in 32 requests\n" in capsys.readouterr().out
    report = files.read_json(Path("reports/drift/bikes.json"))
    assert (report["drift"], report["requests"], report["inputs"], report["independent"]) == (False, 32, len(july), 31)
    assert len(report["problems"]) == 1
    hot = july.assign(temp=july["temp"] + 6, atemp=july["atemp"] + 6)
    keep(Path("hot/bikes"), requests(hot), "text/csv")
    with pytest.raises(SystemExit) as ended:
        drift.main(None, "hot", fail=True)
    assert ended.value.code == drift.FOUND
    assert "bikes: drift found in 31 requests: temperature, from the usual [°C]" in capsys.readouterr().out
    features = {one["feature"]: one for one in files.read_json(Path("reports/drift/bikes.json"))["features"]}
    assert features["temperature, from the usual [°C]"]["drifted"]
    assert not features["wind speed, from the usual [km/h]"]["drifted"]
    with phone(browser, offline=True, color_scheme="dark") as page:
        page.goto(Path("reports/drift/index.html").resolve().as_uri())
        expect(page.locator(".chart svg.marks")).to_have_count(drift.CHARTS)
        expect(page.get_by_text("bikes: drift found in 31 requests")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.locator("table").last.locator("tr").count() == 1 + drift.EXAMPLES


def test_incomparable_requests_are_reported_in_one_line(hours: Path, python: Run) -> None:
    done = python("-m", "stages.feedback.drift", "bikes", "nothing")
    assert done.returncode == 1
    assert done.stderr == "error: nothing: found no .jsonl files, expected an endpoint's captured requests\n"
    table = pd.read_parquet("data/bikes/features/hours.parquet")
    keep(Path("few/bikes"), [*requests(table)[:6], b"datetime\n"], "text/csv")
    found = "few: found 6 days in captured requests of bikes, expected at least 7"
    with pytest.raises(InputError, match=f"{found}: capture more, first problem: event "):
        drift.main("bikes", "few", fail=False)
    with pytest.raises(InputError, match="few: found captured requests of bikes, expected some of mnist"):
        drift.main("mnist", "few", fail=False)
    keep(Path("endpoint/variant"), [b"datetime\n"], "text/csv")
    with pytest.raises(InputError, match="endpoint: found no folder of a project, expected one: name the project"):
        drift.main(None, "endpoint", fail=False)


# Pictures


def pictures(project: str) -> list[NDArray[np.uint8]]:
    """Pictures of the test part, as they were before prepare."""
    if project == "landmarks":
        with photographs.open_archive(Path("data/landmarks/raw"), "test") as archive:
            return [decode(archive.read(name), 10**7) for name in archive.namelist()]
    with np.load(Path("data", project, "features/test.npz")) as test:
        return list(test["images"])


def noisy(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    noise: NDArray[np.uint8] = random.integers(0, 90, image.shape, np.uint8)
    return np.maximum(image, noise)


def darker(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    return (0.4 * image).astype(np.uint8)


CHANGES: dict[str, Callable[[Any, np.random.Generator], NDArray[np.uint8]]] = {
    "mnist": noisy,
    "landmarks": darker,
    "scones": stream.by_night,
}


@pytest.fixture
def there(pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline's results in an own working folder."""
    for name in ("data", "models"):
        (tmp_path / name).symlink_to(pipeline / name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("project", ["mnist", "scones", pytest.param("landmarks", marks=pytest.mark.long)])
def test_test_pictures_are_no_drift_and_changed_ones_are_found(
    project: str, there: None, s3: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    served = projects.feedback(project)
    assert served
    images, random = pictures(project)[:200], np.random.default_rng(0)
    everything, problems = served.inputs(records([saved(image, "PNG") for image in images]))
    training = served.training()
    alarms = 0
    for seed in range(DRAWS):
        chosen = np.random.default_rng(seed).choice(everything.independent, 100, replace=False)
        features = {name: values[chosen] for name, values in everything.features.items()}
        assert everything.embedding is not None
        alarms += bool(drifted(Inputs(features, everything.embedding[chosen], len(chosen), []), training))
    assert alarms <= 1
    assert not problems
    changed = [saved(CHANGES[project](image, random), "PNG") for image in images[:60]]
    keep(Path("kept", project), changed, "image/png")
    for path in Path("kept").rglob("*.jsonl"):  # an endpoint's folders
        s3.upload_file(str(path), "bucket", f"data_capture/endpoint/own/2026/03/01/00/{path.name}")
    shutil.rmtree("kept")
    drift.main(project, "s3://bucket/data_capture", fail=False)
    assert f"{project}: drift found in 60 requests: " in capsys.readouterr().out
    page = Path("reports/drift/index.html").read_text()
    assert page.count('<figure><img src="data:image/png;base64,') == drift.EXAMPLES
    report = files.read_json(Path("reports/drift", f"{project}.json"))
    assert (report["drift"], report["source"], report["requests"]) == (True, "s3://bucket/data_capture", 60)
    assert report["independent"] + len(report["problems"]) == 60  # in too much noise, mnist finds no digit


def test_too_few_pictures_are_reported_in_one_line(there: None) -> None:
    image = saved(pictures("scones")[0], "PNG")
    keep(Path("kept/scones"), [image] * 40, "image/png")  # the same again counts once
    with pytest.raises(InputError, match="found 1 pictures in captured requests of scones, expected at least 30"):
        drift.main("scones", "kept", fail=False)
