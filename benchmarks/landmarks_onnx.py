"""Compare the CPU speed of onnxruntime and of the exported TorchScript, frozen as `inference.model_fn` freezes it.

    python -m benchmarks.landmarks_onnx [--rounds 100] [--threads 2]

The network is MobileNetV2 at 224 pixels, from normalised pixels to logits, for one photograph and for 32. All
candidates take turns, and the medians are compared. The weights are random, as they do not affect the speed.
onnxruntime's threads wait without spinning: otherwise they would slow torch's turns. Needs onnxscript, which the project
itself does not use: install it with pip in addition to requirements.txt.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnxruntime
import torch
import torchvision
from torch import Tensor

from benchmarks import measuring
from stages.common.training import torch_setup

SIZES = (1, 32)

Answer = Callable[[Tensor], Tensor]


def candidates(threads: int) -> dict[str, Answer]:
    """Return the same network in each format: it maps images (N, 3, 224, 224) to logits (N, 1000)."""
    network = torchvision.models.mobilenet_v2().eval().to(memory_format=torch.channels_last)
    images = torch.rand(2, 3, 224, 224)
    traced = torch.jit.trace(network, images, check_trace=False)
    frozen = torch.jit.freeze(torch.jit.trace(network, images, check_trace=False))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with TemporaryDirectory() as folder:
        path = str(Path(folder, "model.onnx"))
        shapes = ({0: torch.export.Dim.DYNAMIC},)
        torch.onnx.export(network, (images,), path, dynamo=True, dynamic_shapes=shapes, verbose=False)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return {
        "TorchScript": traced,
        "TorchScript, frozen": frozen,
        "onnxruntime": lambda images: torch.from_numpy(session.run(None, {name: images.numpy()})[0]),
    }


def main(rounds: int, threads: int) -> dict[str, Any]:
    torch_setup.deterministic(0, threads)
    ways = candidates(threads)
    milliseconds: dict[str, dict[str, float]] = {name: {} for name in ways}
    for size in SIZES:
        images = torch.rand(size, 3, 224, 224)
        with torch.inference_mode():
            expected = ways["TorchScript"](images)
            timed = {name: partial(duration, answer, images, expected) for name, answer in ways.items()}
            seen = measuring.in_turns(timed, max(5, rounds // (1 if size == 1 else 10)))
        for name, times in seen.items():
            milliseconds[name][f"photographs_{size}"] = statistics.median(times)
            print(f"{size} at once, {name}: median {statistics.median(times):.1f} ms")
    return {"threads": threads, "onnxruntime": onnxruntime.__version__, "median_ms": milliseconds}


def duration(answer: Answer, images: Tensor, expected: Tensor) -> float:
    """Return the milliseconds of the ``answer``. Raises AssertionError unless it is as ``expected``."""
    begin = time.perf_counter()
    found = answer(images)
    seconds = time.perf_counter() - begin
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    return 1e3 * seconds


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=100, help="rounds with one photograph; a tenth as many with 32")
    parser.add_argument("--threads", type=int, default=2)


if __name__ == "__main__":
    measuring.run(main, arguments)
