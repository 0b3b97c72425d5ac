"""The page on cost: formulas against what they stand for, the simulation against the formulas, the page against its files."""

import io
import math
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from benchmarks import publish, scaling
from benchmarks import scaling_model as model
from benchmarks import scaling_simulation as simulation
from benchmarks.scaling_model import Rate, Row, Storage, Training
from stages.common.program import InputError

RUN = Training(
    images=100_000, epochs=10, batch=50, rate=500.0, gradients=10**7, bandwidth=10**8, latency=0.001, checkpoint=5.0,
    restart=100.0, interruptions=0.0, start=30.0,
)  # fmt: skip


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_what_was_measured_is_what_it_is_calibrated_to() -> None:
    rows = [Row(1000, 1, 20.0, 10.0), Row(1000, 2, 16.25, 10.0), Row(9000, 2, 66.0, 10.0)]
    rate, used = model.calibrated(rows)
    assert (rate, used) == (Rate(100.0, 0.8, 10.0), rows[:2])
    assert model.run_seconds(9000, rate, 2) == 66.25


def test_an_images_bytes_are_those_of_its_members_in_a_tar() -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        array = io.BytesIO()
        np.save(array, np.zeros((96, 128, 3), np.uint8))
        for name, content in (("000000000.npy", array.getvalue()), ("000000000.cls", b"7")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        assert tar.offset == model.shard_bytes(128, 96)


def test_a_training_is_its_steps_its_averaging_and_its_checkpoints() -> None:
    assert RUN.seconds(1) == 30 + 10 * (2000 * 0.1 + 5)
    assert model.all_reduce_seconds(4, 10**7, 10**8, 0.001) == pytest.approx(2 * 3 / 4 * 0.1 + 6 * 0.001)
    assert RUN.epoch_seconds(4) == pytest.approx(500 * (0.1 + 0.156) + 5)


def test_nodes_that_go_cost_half_an_epoch_and_a_restart() -> None:
    flaky = replace(RUN, interruptions=1.0)
    lost = 1 / 3600 * (205 / 2 + 100)
    assert flaky.seconds(1, spot=True) == pytest.approx(30 + 2050 / (1 - lost))
    assert flaky.seconds(1) == RUN.seconds(1)
    assert replace(RUN, interruptions=100.0).seconds(1, spot=True) == math.inf


def test_half_the_search_is_its_first_rung() -> None:
    assert model.rungs(1, 27, 3) == [1, 3, 9, 27]
    assert model.searched_epochs(27, 1, 27, 3) == 27 * 1 + 9 * 2 + 3 * 6 + 1 * 18


def test_storage_is_paid_by_size_month_and_request() -> None:
    assert Storage(0.02, 0.005, 0.0004).cost(1e12, 10_000, 2, 5) == pytest.approx(40 + 0.05 + 0.02)


def test_the_simulation_without_chance_is_the_formula() -> None:
    rate = Rate(100.0, 0.8, 10.0)
    assert simulation.run_seconds(16_000, rate, 4, 10, 1e-9, 0) == pytest.approx(model.run_seconds(16_000, rate, 4))
    assert simulation.training_seconds(RUN, 4, 1e-9, False, 0) == pytest.approx(RUN.seconds(4))


def test_nodes_that_go_cost_the_simulation_what_the_formula_says() -> None:
    flaky = replace(RUN, interruptions=1.0)
    plays = [simulation.training_seconds(flaky, 1, 1e-9, True, seed) for seed in range(400)]
    assert np.mean(plays) == pytest.approx(flaky.seconds(1, spot=True), rel=0.02)


def test_a_step_waits_for_the_slowest_node() -> None:
    assert simulation.training_seconds(RUN, 4, 0.2, False, 0) > 1.05 * RUN.seconds(4)


def test_a_search_tries_all_and_takes_few_to_the_end() -> None:
    epochs, waited = simulation.searched(1000, 1, 27, 3, 20, 0)
    assert model.searched_epochs(1000, 1, 27, 3) < epochs < 0.25 * 27 * 1000
    assert epochs / 20 <= waited < 1.2 * epochs / 20


def test_the_page_and_its_picture_are_those_of_their_files(tmp_path: Path) -> None:
    page = Path("docs/cost.md")
    assert publish.with_tables(page) == page.read_text()
    scaling.draw(tmp_path / "cost.svg")
    assert (tmp_path / "cost.svg").read_bytes() == scaling.PICTURE.read_bytes()


def test_a_measurement_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "RESULTS", tmp_path)
    with pytest.raises(InputError, match=r"ray_training\.json is missing: python -m benchmarks\.ray_training makes it"):
        scaling.training_rows()
