"""Requests that go through a network together get the answers that each would get alone."""

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from tiny_exports import PROJECTS
from torch import Tensor

from stages.bikes import inference as bikes
from stages.landmarks import inference as landmarks
from stages.mnist import inference as mnist
from stages.scones import inference as scones
from stages.serving.comparison import npy


def noise(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def model_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    PROJECTS[request.param][1](tmp_path / "model.pt")
    return tmp_path


def contents(module: Any, model: Any, shapes: list[tuple[int, ...]]) -> tuple[list[Tensor], list[Tensor]]:
    """What input_fn would give for requests of these shapes, and what batch_fn takes for them."""
    data = [noise(shape, seed) for seed, shape in enumerate(shapes)]
    ready = getattr(module, "ready_fn", lambda one, _: one)
    return data, [ready(one, model) for one in data]


@pytest.mark.parametrize(("model_folder", "project"), [(name, name) for name in PROJECTS], indirect=["model_folder"])
def test_batched_requests_get_the_same_answers_as_single_ones(model_folder: Path, project: str) -> None:
    module, _, shapes = PROJECTS[project]
    model = module.model_fn(str(model_folder))
    data, ready = contents(module, model, shapes)
    together = module.batch_fn(ready, model)
    assert len(together) == len(data)
    for one, answer in zip(data, together, strict=True):
        classes, probabilities, *familiarity = answer[:3]
        alone_classes, alone, *alone_familiarity = module.predict_fn(one, model)[:3]
        assert classes == alone_classes
        assert probabilities.shape == (len(one), len(classes))
        assert torch.equal(probabilities.argmax(1), alone.argmax(1))
        assert torch.allclose(probabilities, alone, atol=1e-5)
        for values, others in zip(familiarity, alone_familiarity, strict=True):
            assert values.shape == (len(one),)
            assert torch.allclose(values, others, atol=1e-5)
        assert module.output_fn(answer, "application/json")
    assert len({tuple(rows[0].tolist()) for _, rows, *_ in together}) == len(data), "the requests are not told apart"


@pytest.mark.parametrize("model_folder", ["landmarks"], indirect=True)
def test_waiting_photographs_are_reduced_to_squares_and_freezing_changes_no_answer(model_folder: Path) -> None:
    model = landmarks.model_fn(str(model_folder))
    network = torch.jit.load(str(model_folder / "model.pt")).eval()
    data, ready = contents(landmarks, model, PROJECTS["landmarks"][2])
    for photographs, squares in zip(data, ready, strict=True):
        assert squares.shape == (len(photographs), 3, 40, 40)
        assert squares.dtype == torch.uint8
        with torch.inference_mode():
            assert torch.equal(squares, network.squares(photographs))
            expected = network(photographs)
        assert torch.allclose(landmarks.predict_fn(photographs, model)[1], expected, atol=1e-6)


def test_requests_of_bikes_are_not_batched() -> None:
    assert not hasattr(bikes, "batch_fn")


KINDS = ["image/*", *(f"application/{kind}" for kind in ("x-image", "octet-stream", "x-npy"))]


@pytest.mark.parametrize(
    ("module", "accepted", "refused"),
    [
        (mnist, [*KINDS, "application/json"], "text/csv"),
        (landmarks, KINDS, "application/json"),
        (scones, KINDS, "application/json"),
        (bikes, ["text/csv", "application/json"], "image/png"),
    ],
)
def test_the_table_of_content_types_is_what_input_fn_reads(
    module: ModuleType, accepted: list[str], refused: str
) -> None:
    assert list(module.CONTENT_TYPES) == accepted
    for kind in accepted:
        with pytest.raises(ValueError, match="^(?!content type)"):  # refused for its content, which is empty
            module.input_fn(b"", kind.replace("*", "png"))
    words = f"content type '{refused}' is not known: expected .*{re.escape(accepted[-1])}"
    with pytest.raises(ValueError, match=words):
        module.input_fn(b"", refused)


def test_scones_reads_one_array_of_pixels() -> None:
    pixels = np.arange(32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
    for array in (pixels, pixels[None]):
        assert scones.input_fn(npy(array), "application/x-npy").numpy().tolist() == pixels[None].tolist()
    wrong: dict[str, np.ndarray] = {
        "values of type float32: expected one array of uint8": pixels.astype(np.float32),
        r"a picture of shape \(2, 32, 32, 3\): expected \(H, W, 3\)": np.stack([pixels, pixels]),
        r"a picture of shape \(3, 32, 32\)": pixels.transpose(2, 0, 1),
    }
    for words, array in wrong.items():
        with pytest.raises(ValueError, match=words):
            scones.input_fn(npy(array), "application/x-npy")


def test_scones_answers_with_an_array_and_with_class_names_on_request() -> None:
    prediction = (["bicycle", "motorcycle"], torch.tensor([[0.25, 0.75]]), torch.tensor([-0.5]))
    for accept in ("application/json", "*/*", "application/json; verbose=false"):
        assert scones.output_fn(prediction, accept) == "[0.25, 0.75]"
    for accept in ("application/json; verbose=true", "Application/JSON;charset=utf-8; verbose=TRUE"):
        verbose = '{"classes": ["bicycle", "motorcycle"], "probabilities": [[0.25, 0.75]], "known": [false], "familiarity": [-0.5]}'
        assert scones.output_fn(prediction, accept) == verbose
    with pytest.raises(ValueError, match="text/csv; verbose=true"):
        scones.output_fn(prediction, "text/csv; verbose=true")
