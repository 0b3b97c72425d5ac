"""Compare the CPU speed of onnxruntime and of the exported TorchScript, frozen as `inference.model_fn` freezes it.

    python -m benchmarks.landmarks_onnx [--rounds 100] [--threads 2]

The network is MobileNetV2 at 224 pixels, from normalised pixels to logits, for one photograph and for 32. All
candidates take turns, and the medians are compared. The weights are random, as they do not affect the speed.
onnxruntime's threads wait without spinning: otherwise they would slow torch's turns. Needs onnx, onnxscript and
onnxruntime, which the project itself does not use: install them with pip in addition to requirements.txt.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime
import torch
import torchvision
from torch import Tensor

from stages.common import files
from stages.common.training import torch_setup
from stages.experiments.records import circumstances

RESULT = Path("benchmarks/results/landmarks_onnx.json")
SIZES = (1, 32)
WARM_UP = 3  # turns

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, help="rounds with one photograph; a tenth as many with 32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULT, help="%(default)s")
    arguments = parser.parse_args()
    torch_setup.deterministic(0, arguments.threads)
    ways = candidates(arguments.threads)
    milliseconds: dict[str, dict[str, float]] = {name: {} for name in ways}
    for size in SIZES:
        images = torch.rand(size, 3, 224, 224)
        seen: dict[str, list[float]] = {name: [] for name in ways}
        with torch.inference_mode():
            expected = ways["TorchScript"](images)
            for turn in range(WARM_UP + max(5, arguments.rounds // (1 if size == 1 else 10))):
                for name, answer in ways.items():
                    begin = time.perf_counter()
                    found = answer(images)
                    if turn >= WARM_UP:
                        seen[name].append(1e3 * (time.perf_counter() - begin))
                    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        for name, times in seen.items():
            milliseconds[name][f"photographs_{size}"] = statistics.median(times)
            print(f"{size} at once, {name}: median {statistics.median(times):.1f} ms")
    figures = {
        "circumstances": circumstances.now(arguments.threads),
        "onnxruntime": onnxruntime.__version__,
        "median_ms": milliseconds,
    }
    files.write_json(arguments.output, figures)


if __name__ == "__main__":
    main()
