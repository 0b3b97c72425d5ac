"""Benchmarks against other frameworks, and the limits that they state."""

import base64
import json
from pathlib import Path

import pytest
import torch
from small_photographs import write_photographs
from torch import nn

from benchmarks import landmarks_training, limits, server, serving, settings

INFERENCE = """
def model_fn(folder):
    return folder

def input_fn(body, content_type):
    assert content_type == "image/png"
    return body.decode()

def batch_fn(items, model):
    open("sizes", "a").write(f"{len(items)} {len(set(items))}\\n")
    return [f"{model} {item}" for item in items]

def output_fn(answer, accept):
    return answer
"""


def test_operations_are_those_of_products_and_convolutions() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 5))
    images = torch.randn(2, 3, 4, 4)
    forward = 2 * (3 * 9 * 8 * 16 + 8 * 16 * 5)
    assert limits.operations(lambda: network(images)) == 2 * forward
    # Backward computes each layer's gradient by its weights, and by its inputs if these depend on weights.
    assert limits.of_training(network, images) == forward + 2 * (3 * 9 * 8 * 16) + 4 * (8 * 16 * 5)


def test_a_convolution_of_single_channels_is_counted_once_for_each_channel() -> None:
    network = nn.Sequential(
        nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Flatten()
    )
    one = 2 * 9 * 8 * 16
    assert limits.of_training(network, torch.randn(2, 8, 4, 4)) == 2 * one + one + 2 * one


@pytest.mark.parametrize("contestant", ["plain loop", "Lightning"])
def test_landmarks_are_trained_by_each_contestant_on_the_same_photographs(contestant: str, tmp_path: Path) -> None:
    if contestant == "Lightning":
        pytest.importorskip("lightning")
    write_photographs(tmp_path / "landmarks")
    found = landmarks_training.main(tmp_path, 36, ["residual"], [contestant], 1, 1)
    assert found["photographs"] == {"training": 33, "validation": 3}
    rows = found["networks"]["residual"]["contestants"]
    assert set(rows) == {"ours", contestant}
    assert len({row["gigaoperations"] for row in rows.values()}) == 1
    assert all(0 < row["seconds_at_the_limit"] < row["seconds"] for row in rows.values())


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A folder with an unpacked export, whose functions answer with what they got."""
    (tmp_path / "model/code").mkdir(parents=True)
    (tmp_path / "model/code/inference.py").write_text(INFERENCE)
    return tmp_path


def test_the_limit_of_serving_calls_the_functions_with_full_batches(export: Path) -> None:
    bodies = [f"{number}".encode() for number in range(40)]
    walls, spent = serving.direct(export, bodies, 3, serving.CLIENTS)
    assert len(walls) == len(spent) == 3
    sizes = (export / "sizes").read_text().split("\n")
    assert set(sizes) == {f"{serving.CLIENTS} {serving.CLIENTS}", ""}


def test_litserve_answers_by_the_export_s_functions(export: Path) -> None:
    pytest.importorskip("litserve")
    (export / "litserve_server.py").write_text(serving.LITSERVE)
    with server.started(export, ["1", "0.002"], ["litserve_server.py"]) as (address, _):
        server.wait(address, "/health")
        body = json.dumps({"image": base64.b64encode(b"a digit").decode()}).encode()
        times = serving.load(f"{address}/predict", [body], 2, 0.5, "application/json")
    assert len(times) >= 2
    assert (export / "sizes").exists()


@pytest.mark.parametrize("name", ["mnist mlp", "scones residual", "landmarks residual"])
def test_each_network_is_measured_with_its_own_settings(name: str) -> None:
    case = settings.cases()[name]
    _, side = case.build()
    if case.project != "mnist":
        assert side == getattr(case.settings, case.network).image_size
    assert settings.images_per_second(case._replace(images=2 * case.settings.batch_size), "half the batch") > 0
