"""mnist's networks, their preprocessing and their augmentation."""

import numpy as np
import pytest
import torch
from torch import Tensor

from stages.mnist.config import Augmentation, Known
from stages.mnist.learning import judging, second
from stages.mnist.learning.augmentation import moved
from stages.mnist.model import Classifier, build, normalise

STILL = Augmentation(rotation=0, scale=0, shear=0, shift=0)


BLOTS = torch.zeros(64, 28, 28, dtype=torch.uint8)
BLOTS[:, 12:16, 13:15] = 255
"""A blot in the middle of each of 64 images."""


def ink(limits: Augmentation) -> tuple[Tensor, Tensor]:
    """The ink of the changed blots, (64, 1, 28, 28), 0 on the background, and the mean column of each."""
    result = moved(BLOTS, limits, torch.Generator().manual_seed(0)) - normalise(BLOTS * 0)
    return result, (result.sum(2).squeeze(1) * torch.arange(28)).sum(1) / result.sum((1, 2, 3))


def test_the_published_networks_have_their_parameters() -> None:
    small = build("mlp", {"hidden": [128, 64], "dropout": 0.0, "batch_norm": False})
    large = build("mlp", {"hidden": [256, 128], "dropout": 0.2, "batch_norm": False})
    assert [layer.out_features for layer in small if isinstance(layer, torch.nn.Linear)] == [128, 64, 10]
    assert sum(parameter.numel() for parameter in small.parameters()) == 109_386
    assert sum(parameter.numel() for parameter in large.parameters()) == 235_146
    assert [layer.p for layer in large if isinstance(layer, torch.nn.Dropout)] == [0.2, 0.2]


@pytest.mark.parametrize(
    ("network", "settings"),
    [
        ("mlp", {"hidden": [], "dropout": 0.0, "batch_norm": False}),
        ("mlp", {"hidden": [16, 8], "dropout": 0.5, "batch_norm": True}),
        ("cnn", {"width": 4, "depth": 2, "kernel": 5, "dropout": 0.1}),
    ],
)
def test_a_classifier_turns_bytes_into_probabilities(network: str, settings: dict[str, object]) -> None:
    classifier = Classifier(build(network, settings)).eval()
    images = torch.randint(0, 256, (3, 28, 28), dtype=torch.uint8)
    probabilities = classifier(images)
    assert probabilities.shape == (3, 10)
    assert probabilities.dtype == torch.float32
    assert torch.allclose(probabilities.sum(1), torch.ones(3))
    assert torch.allclose(classifier(images[1:2]), probabilities[1:2], atol=1e-6)


def test_normalise_leaves_the_images_as_they_were() -> None:
    images = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    expected = torch.tensor([[[[(0 - 0.1307) / 0.3081, (1 - 0.1307) / 0.3081]]]])
    assert torch.allclose(normalise(images), expected)
    assert images.tolist() == [[[0, 255]]]


def test_without_augmentation_limits_images_do_not_change() -> None:
    assert torch.allclose(ink(STILL)[0], normalise(BLOTS) - normalise(BLOTS * 0), atol=1e-4)


def test_a_shift_moves_the_ink_by_whole_images_and_keeps_it() -> None:
    result, columns = ink(STILL.model_copy(update={"shift": 3.0}))
    mass = result.sum((2, 3)).squeeze(1)
    assert torch.allclose(mass, mass[0].expand(64), rtol=1e-3)
    assert (columns - 13.5).abs().max() <= 3.01
    assert (columns - 13.5).abs().max() > 2
    assert len(columns.unique()) > 60


def test_rotation_shear_and_scale_keep_the_middle_in_place() -> None:
    result, columns = ink(Augmentation(rotation=30, scale=0.2, shear=20, shift=0))
    assert (columns - 13.5).abs().max() < 0.05
    assert not torch.allclose(result[0], result[1], atol=0.1)


def test_pixels_from_outside_are_background() -> None:
    result, _ = ink(STILL.model_copy(update={"shift": 14.0}))
    assert result.min().item() == pytest.approx(0, abs=1e-4)
    assert normalise(BLOTS * 0).unique().item() == pytest.approx(-0.1307 / 0.3081)


def answers(own: float, other: float) -> tuple[np.ndarray, np.ndarray]:
    """What both networks say of 100 images of a three: they give it ``own`` and ``other``, but 0.1 less to some."""
    less = np.linspace(0, 0.1, 100)[:, None]
    first = np.where(np.arange(10) == 3, own - less, (1 - own + less) / 9).astype(np.float32)
    log = np.log(np.where(np.arange(10) == 3, other - less, (1 - other + less) / 9))
    return first, np.concatenate([log, np.full((100, 1), 5.0)], 1).astype(np.float32)


@pytest.mark.parametrize(("own", "other"), [(0.95, 0.15), (0.3, 0.3), (0.99, 0.2)])
def test_networks_that_do_not_agree_on_validation_images_do_not_lower_the_limit_of_certainty(
    own: float, other: float
) -> None:
    settings = Known(strangers=7000, steps=2000, accepted=0.995, certain=0.97)
    doubtful = second.limits(*answers(own, other), settings)["certainty"]
    assert doubtful == pytest.approx(np.log(0.25), abs=1e-5)
    sure = answers(0.95, 0.9)
    limit = second.limits(*sure, settings)["certainty"]
    assert limit > doubtful
    assert (judging.certainty(*sure) >= limit).mean() == pytest.approx(0.97, abs=0.011)
