"""Pixels, networks and backbones: what featurize, train, evaluate and the export of photographs share."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from stages.common.errors import InputError
from stages.common.vision import backbones, networks, pixels


def photographs(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def with_head(name: str, size: int, fine_tune: str, pretrained: bool) -> backbones.Transfer:
    """A network of torchvision with random weights and a new head for three classes."""
    backbone = backbones.build(name, "none", [], size)
    return backbones.Transfer(backbone.network, networks.head(backbone.size, 3, None, 0.0), fine_tune, pretrained)


def trained(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def test_the_shorter_side_is_resized_and_the_longer_one_follows() -> None:
    sides = {(128, 128): (64, 64), (100, 200): (64, 128), (333, 100): (213, 64), (64, 65): (64, 65), (1, 1): (64, 64)}
    for side, expected in {**sides, (20, 30): (64, 96)}.items():
        assert pixels.resize_shorter(photographs(1, 3, *side), 64).shape[2:] == expected


def test_resizing_matches_pillow_except_for_rounding() -> None:
    image = photographs(1, 3, 90, 130)
    ours = pixels.resize_shorter(image, 32)[0].permute(1, 2, 0).numpy().astype(int)
    height, width = ours.shape[:2]
    theirs = Image.fromarray(image[0].permute(1, 2, 0).numpy()).resize((width, height), Image.Resampling.BILINEAR)
    assert np.abs(ours - np.asarray(theirs).astype(int)).max() <= 1


@pytest.mark.parametrize("function", [lambda x: pixels.resize_shorter(x, 48), lambda x: pixels.centre_square(x, 31)])
def test_resizing_does_not_depend_on_the_batch_or_the_memory_layout(function: Callable[[Tensor], Tensor]) -> None:
    batch = photographs(3, 3, 70, 51)
    together = function(batch)
    assert all(torch.equal(function(one[None])[0], all_of) for one, all_of in zip(batch, together, strict=True))
    assert torch.equal(function(batch.contiguous(memory_format=torch.channels_last)), together)


def test_a_picture_of_the_right_size_stays_as_it_is() -> None:
    image = photographs(2, 3, 40, 40)
    assert torch.equal(pixels.centre_square(pixels.resize_shorter(image, 40), 40), image)
    assert pixels.resize_square(image, 40, 40) is image


def test_normalised_pixels_have_mean_0_and_deviation_1() -> None:
    image = photographs(4, 3, 50, 50)
    scaled = image.double() / 255
    mean, std = scaled.mean((0, 2, 3)).float(), scaled.std((0, 2, 3)).float()
    inputs = pixels.normalise(image, mean, std)
    assert inputs.dtype == torch.float32
    assert inputs.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-4)
    assert inputs.std((0, 2, 3)).tolist() == pytest.approx([1, 1, 1], abs=1e-3)


def test_the_published_network_has_its_published_layers() -> None:
    with torch.device("meta"):
        network = networks.vgg(50, 1.0, 0.4)
    convolutions = [layer.out_channels for layer in network if isinstance(layer, nn.Conv2d)]
    assert convolutions == [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    assert [layer.out_features for layer in network if isinstance(layer, nn.Linear)] == [4096, 4096, 50]
    assert trained(network) == 134_473_842


@pytest.mark.parametrize(("height", "width"), [(1, 2), (3, 3), (7, 7), (7, 9), (10, 28)])
def test_a_gpu_s_averages_are_those_of_torch_with_their_gradients(height: int, width: int) -> None:
    maps = torch.rand(2, 3, height, width, requires_grad=True)
    factors, found = torch.rand(2, 3, 7, 7), []
    for averages in (networks.averaged(maps, 7), nn.functional.adaptive_avg_pool2d(maps, 7)):
        found.append((averages, *torch.autograd.grad((averages * factors).sum(), maps)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("size", [32, 64, 96, 100])
def test_the_residual_network_takes_any_size(size: int) -> None:
    network = networks.residual(7, 8, 2, 0.1).eval()
    assert network(torch.zeros(2, 3, size, size)).shape == (2, 7)


FAMILIES = {  # name: a size that it takes
    "alexnet": 64,
    "convnext_tiny": 32,
    "densenet121": 32,
    "efficientnet_b0": 32,
    "googlenet": 32,
    "inception_v3": 96,
    "mnasnet0_5": 32,
    "mobilenet_v2": 32,
    "regnet_y_400mf": 32,
    "resnet18": 32,
    "shufflenet_v2_x0_5": 32,
    "squeezenet1_1": 32,
    "swin_t": 32,
    "vgg11": 32,
    "vit_b_32": 224,
}


@pytest.mark.parametrize(("name", "size"), FAMILIES.items())
def test_every_family_of_networks_gives_features_whatever_its_last_layer_is_called(name: str, size: int) -> None:
    whole = with_head(name, size, "none", pretrained=True)
    assert whole.train()(torch.zeros(2, 3, size, size)).shape == (2, 3)
    assert trained(whole.backbone) == 0
    features = whole.backbone(torch.zeros(2, 3, size, size)).shape[1]
    assert trained(whole) == 3 * features + 3


def test_the_published_head_on_resnet18_has_its_published_number_of_weights() -> None:
    backbone = backbones.build("resnet18", "none", [], 64)
    head = networks.head(backbone.size, 50, None, 0.0)
    assert trained(head) == 25_650


def test_a_layer_whose_maps_have_their_channels_last_is_refused() -> None:
    with pytest.raises(InputError, match=r"layer 'features.3' gives \(1, 4, 4, 192\): expected"):
        backbones.build("swin_t", "none", ["features.3"], 32)


@pytest.mark.parametrize(("fine_tune", "count"), [("none", 0), ("all", 156), ("features.17", 12), ("features.18.0", 3)])
def test_only_the_layers_from_the_named_one_on_are_trained(fine_tune: str, count: int) -> None:
    whole = with_head("mobilenet_v2", 32, fine_tune, pretrained=True)
    assert sum(parameter.requires_grad for parameter in whole.backbone.parameters()) == count


@pytest.mark.parametrize(("pretrained", "moved"), [(True, False), (False, True)])
def test_batch_norm_keeps_the_statistics_of_weights_that_were_trained_elsewhere(pretrained: bool, moved: bool) -> None:
    whole = with_head("mobilenet_v2", 32, "all", pretrained)
    before = {name: value.clone() for name, value in whole.backbone.named_buffers()}
    whole.train()(torch.rand(4, 3, 32, 32))
    changed = any(not torch.equal(value, before[name]) for name, value in whole.backbone.named_buffers())
    assert changed is moved


@pytest.mark.parametrize(
    ("name", "first"),
    [("mobilnet_v2", "mobilenet_v2"), ("ResNet18", "resnet18"), ("efficientnet-b0", "efficientnet_b0")],
)
def test_an_unknown_network_is_answered_with_the_closest_names_of_both_libraries(name: str, first: str) -> None:
    with pytest.raises(InputError) as error:
        backbones.build(name, "none", [], 64)
    listed = str(error.value).split("expected one such as ")[1].split(", ")
    assert listed[0] == first
    assert len(listed) == len(set(listed)) == 12
