"""Weights of one's own: files of other definitions of the same network are mapped, and what does not fit is refused."""

import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from stages.common.errors import InputError
from stages.common.vision import classifiers, initial
from stages.mnist.model import build, fully_connected


def notebook() -> nn.Sequential:
    """The three layers of a well-known notebook."""
    linear = {"fc1": nn.Linear(784, 128), "relu1": nn.ReLU(), "fc2": nn.Linear(128, 64), "relu2": nn.ReLU()}
    return nn.Sequential(OrderedDict([("flat", nn.Flatten()), *linear.items(), ("fc3", nn.Linear(64, 10))]))


def mlp() -> nn.Sequential:
    return fully_connected([128, 64], 0.0, batch_norm=False)


@pytest.mark.parametrize(
    "stored",
    [
        lambda weights: weights,
        lambda weights: {f"module.{name}": value for name, value in weights.items()},
        lambda weights: {"epoch": 3, "model_state_dict": weights, "optimizer": {"lr": 0.1}},
        lambda weights: {name: value.double() for name, value in weights.items()},
    ],
)
def test_other_names_in_the_same_order_are_mapped(tmp_path: Path, stored: Callable[[Any], Any]) -> None:
    net, network = notebook(), mlp()
    torch.save(stored(net.state_dict()), tmp_path / "net.pth")
    found, complete = initial.loaded(network, str(tmp_path / "net.pth"))
    assert found
    assert complete
    assert re.search(r"fc1 -> 1, (module\.)?fc2 -> 3, (module\.)?fc3 -> 5", found.mapping)
    images = torch.rand(5, 1, 28, 28)
    assert torch.equal(network(images), net(images))


def test_a_last_layer_that_is_missing_or_of_other_classes_stays_new(tmp_path: Path) -> None:
    weights = notebook().state_dict()
    for name, stored in (
        ("without", {name: value for name, value in weights.items() if "fc3" not in name}),
        ("other", {**weights, "fc3.weight": torch.rand(26, 64), "fc3.bias": torch.rand(26)}),
    ):
        torch.save(stored, tmp_path / name)
        network = mlp()
        last = network[-1].state_dict()["weight"].clone()
        found, complete = initial.loaded(network, str(tmp_path / name))
        assert found
        assert not complete
        assert torch.equal(network.state_dict()["1.weight"], weights["fc1.weight"])
        assert torch.equal(network.state_dict()["5.weight"], last)
    assert found
    assert found.mapping.endswith("not loaded: fc3, for other classes")


def replaced(name: str, value: Any) -> Callable[[], Any]:
    return lambda: {**notebook().state_dict(), name: value}


def convolutional() -> dict[str, Tensor]:
    return build("cnn", {"width": 4, "depth": 1, "kernel": 3, "dropout": 0.0}).state_dict()


class Attack:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this code must not run",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (replaced("fc2.bias", torch.full((64,), torch.nan)), "fc2.bias has values that are not finite"),
        (replaced("fc2.bias", torch.ones(64).double() * 1e300), "fc2.bias has values that are not finite"),
        (replaced("fc1.weight", torch.zeros(128, 783)), "fc1.weight [128, 783] stands where the network has 1.weight [128, 784]"),
        (replaced("fc3.weight", torch.zeros(10, 63)), "fc3.weight has the shape [10, 63], expected [10, 64]"),
        (replaced("fc2.bias", torch.zeros(64).long()), "fc2.bias is torch.int64, not a tensor of floating-point"),
        (replaced("fc2.bias", 3), "fc2.bias is int, not a tensor"),
        (replaced("fc4.bias", torch.zeros(2)), "it has 7 tensors, the network 6"),
        (convolutional, "missing: 3.weight, 3.bias; left over: 0.weight, 1.running_mean"),
        (lambda: torch.zeros(3), "it holds Tensor, not tensors by name"),
        (dict, "it holds dict, not tensors by name"),
        (Attack, "UnpicklingError: Weights only load failed"),
        (lambda: torch.jit.script(mlp()), "Error: "),
    ],
)  # fmt: skip
def test_another_networks_state_dict_is_refused(
    tmp_path: Path, content: Callable[[], Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = content()
    file = tmp_path / "weights.pth"
    torch.jit.save(made, file) if isinstance(made, torch.jit.ScriptModule) else torch.save(made, file)
    network = mlp()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(InputError, match=re.escape(words)) as error:
        initial.loaded(network, str(file))
    assert "expected the network's state_dict, as torch.save(network.state_dict(), path) writes it" in str(error.value)
    assert "\n" not in str(error.value)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert "must not run" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["/nothing.pth", "/", "~nobody-here/x.pth", "/a\0b"])
def test_a_missing_file_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="there is no such file: expected none, or the path of a state_dict"):
        initial.loaded(mlp(), name)


def test_layers_that_could_be_exchanged_are_refused(tmp_path: Path) -> None:
    network = fully_connected([64, 64, 64], 0.0, batch_norm=False)

    def load(*layers: str) -> bool:
        names = [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]
        torch.save(dict(zip(names, network.state_dict().values(), strict=True)), tmp_path / "net.pth")
        return initial.loaded(network, str(tmp_path / "net.pth"))[1]

    with pytest.raises(InputError, match="its layers middle and hidden have the same shapes, and their names"):
        load("input", "middle", "hidden", "output")
    assert load("input", "conv2", "conv10", "output")


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_a_librarys_network_with_its_last_layer_predicts_the_same(tmp_path: Path, library: str) -> None:
    torch.manual_seed(0)
    if library == "timm":
        name, path = "test_resnet.r160_in1k", tmp_path / "net.safetensors"
        whole = timm.create_model(name, num_classes=3)
        save_file(whole.state_dict(), path)
    else:
        name, path = "mobilenet_v3_small", tmp_path / "net.pth"
        whole = torchvision.models.get_model(name, weights=None, num_classes=3)
        torch.save({f"module.{part}": value for part, value in whole.state_dict().items()}, path)
    settings = {"backbone": name, "image_size": 32, "fine_tune": "none", "dropout": 0.1, "layers": [], "hidden": None}
    images = torch.randn(4, 3, 32, 32)
    built = classifiers.build("transfer", settings, 3, str(path))
    assert built.complete
    assert built.initial
    assert built.initial.mapping.endswith("its last layer is used")
    with torch.no_grad():
        expected, found = whole.eval()(images), built.network.eval()(images)
    assert torch.allclose(found, expected, atol=1e-5)
    again = classifiers.build("transfer", settings, 3).network
    again.load_state_dict(built.network.state_dict())
    assert torch.allclose(again.eval()(images), expected, atol=1e-5)
    assert torch.allclose(built.network.train().head(built.network.eval().backbone(images)), expected, atol=1e-5)  # type: ignore[operator]
    for change, classes in (({"hidden": 8}, 3), ({}, 4)):
        other = classifiers.build("transfer", settings | change, classes, str(path))
        assert other.initial
        assert not other.complete
        assert other.initial.mapping.endswith("the last layer is new")
