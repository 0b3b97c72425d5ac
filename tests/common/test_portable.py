"""The same bytes on every x86-64 processor with AVX2: the libraries' limits, products that don't depend on the vendor, golden bytes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT, Change, Run
from torch import nn

import stages
from benchmarks import processors
from stages import check
from stages.common.errors import InputError
from stages.common.portable import is_portable, make_portable
from stages.common.training import torch_setup

CPU = torch.device("cpu")
VENDORS = ("Intel", "AMD")


def gradients(network: nn.Module, inputs: torch.Tensor) -> list[torch.Tensor]:
    """Outputs, and the gradients by the inputs and all parameters."""
    outputs = network(inputs)
    return [outputs, *torch.autograd.grad(outputs.square().sum(), [inputs, *network.parameters()])]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(30, 7), (5, 30)),
        (nn.Linear(30, 7, bias=False), (2, 3, 30)),
        (nn.Conv2d(6, 8, 1), (3, 6, 5, 4)),
        (nn.Conv2d(6, 8, 1, bias=False), (20, 6, 5, 4)),
        (nn.Conv2d(6, 8, 1, stride=2), (3, 6, 5, 4)),
        (nn.Conv2d(6, 6, 3, padding=1, groups=6), (3, 6, 5, 4)),
    ],
)
def test_portable_layers_compute_what_torch_does(layer: nn.Module, shape: tuple[int, ...]) -> None:
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    expected = gradients(layer, inputs)
    names = list(layer.state_dict())
    make_portable(layer)
    for found, one in zip(gradients(layer, inputs), expected, strict=True):
        torch.testing.assert_close(found, one, rtol=1e-5, atol=1e-5)
    assert list(layer.state_dict()) == names


GOLDEN = {
    "convolutional": "f469f7448267b92d97667d4b3c6085d6",
    "small-batches": "b864cefdeb8b221a3d1662cc154378f0",
    "connected": "b7c4435f893a530227cacfabba4d80e2",
    "residual": "f1f16eb25615c506b5c21b247f6b715f",
    "features": "d4a194134e924adb5baaa6f0349ea56a",
    "onnx": "ea61e1655cffc1dddceb5be641c9aa8b",
    "opinions": "41210d8015087e4a450e778d40614c6a",
    "warped": "790c53b14352499202d228fa67bd14cb",
}
"""MD5 of the weights that `small_trainings.py` ends with, and of the last network's features, its ONNX file, a second network's opinions and warped images."""


def weights(*beginning: str) -> dict[str, str]:
    """MD5 by network, from a process of its own, whose libraries are limited from their import on."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    python = Path(sys.executable).resolve()  # an emulator does not follow the environment's link
    command = [*beginning, str(python), str(ROOT / "tests/small_trainings.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.mark.skipif(not stages.portable(), reason="the promise is for x86-64 processors with AVX2")
def test_training_gives_the_same_bytes_on_every_processor() -> None:
    assert weights() == GOLDEN


def test_without_the_limits_mkl_gives_different_bytes_for_each_vendor(tmp_path: Path) -> None:
    product = "import torch; torch.manual_seed(0); print((torch.randn(64, 784) @ torch.randn(784, 128)).sum().item())"
    found = {
        subprocess.check_output([*processors.on(processor, tmp_path), sys.executable, "-c", product])
        for processor in VENDORS
    }
    assert len(found) > 1


LONG = [pytest.mark.long, pytest.mark.timeout(3000)]


@pytest.mark.parametrize(
    "processor", [*VENDORS, *(pytest.param(name, marks=LONG) for name in ("COMPATIBLE", *processors.EMULATED))]
)
def test_code_paths_of_mkl_and_emulated_processors_give_the_same_bytes(processor: str, tmp_path: Path) -> None:
    assert weights(*processors.on(processor, tmp_path)) == GOLDEN


def test_the_libraries_are_limited_before_they_are_imported(workspace: Path, python: Run) -> None:
    script = "import stages, torch; print(stages.portable(), torch.backends.cpu.get_cpu_capability())"
    assert python("-c", script).stdout.split() == ["True", "AVX2"]


def test_portable_false_leaves_the_libraries_alone(
    workspace: Path, change: Change, python: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a process that one with limited libraries has started."""
    assert os.environ[stages.CHOICE] == "1"
    change({"engine.portable": False})
    script = f"import os, stages; print(stages.portable(), *({stages.VARIABLES!r}.keys() & os.environ.keys()))"
    assert python("-c", script).stdout.split() == ["False"]
    Path("params.yaml").unlink()
    monkeypatch.setenv(stages.CHOICE, "0")
    assert python("-c", "import stages; print(stages.portable())").stdout.split() == ["False"]


def test_gpus_threads_bfloat16_and_compiling_are_not_portable() -> None:
    assert is_portable(CPU, "float32", 1) == stages.portable()
    assert not any(is_portable(CPU, "float32", threads) for threads in (None, 2))
    assert not is_portable(CPU, "bfloat16", 1)
    assert not is_portable(CPU, "float32", 1, compiled=True)
    assert not is_portable(torch.device("cuda"), "float32", 1)


def test_a_processor_without_avx2_is_refused(tmp_path: Path) -> None:
    known = tmp_path / "cpuinfo"
    known.write_text("model name\t: old\nflags\t\t: fpu sse4_2 avx\n")
    with pytest.raises(InputError, match="needs AVX2, which this processor does not have: set it to false"):
        check.check_processor(known)
    known.write_text("flags\t\t: fpu sse4_2 avx avx2\n")
    check.check_processor(known)
    check.check_processor(tmp_path / "missing")


@pytest.mark.parametrize(
    ("hardware", "portable", "chosen"), [(True, False, "bfloat16"), (True, True, "float32"), (False, False, "float32")]
)
def test_auto_is_bfloat16_where_the_processor_multiplies_it(
    hardware: bool, portable: bool, chosen: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: hardware)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
    monkeypatch.setattr("stages.portable", lambda: portable)
    assert torch_setup.pick_precision("auto", CPU, "mnist") == chosen
    assert capsys.readouterr().out == f"mnist: precision {chosen}, chosen for this cpu\n"


@pytest.mark.parametrize(("capability", "chosen"), [((8, 0), "bfloat16"), ((9, 0), "bfloat16"), ((7, 5), "float32")])
def test_auto_is_bfloat16_on_gpus_from_compute_capability_8(
    capability: tuple[int, int], chosen: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    assert torch_setup.pick_precision("auto", torch.device("cuda"), "mnist") == chosen
    assert capsys.readouterr().out == f"mnist: precision {chosen}, chosen for this cuda\n"


def test_emulated_bfloat16_is_warned_of_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
    assert torch_setup.pick_precision("bfloat16", CPU, "mnist") == "bfloat16"
    warned = capsys.readouterr().err
    assert warned.count("\n") == 1
    assert warned.startswith("warning: mnist.precision = bfloat16 is emulated here and takes about 11 times as long")
    assert torch_setup.pick_precision("float32", CPU, "mnist") == "float32"
    assert capsys.readouterr() == ("", "")
