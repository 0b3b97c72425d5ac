"""Compute the exported networks with 8-bit integers: how much smaller, faster and worse they are.

    python -m benchmarks.int8 [--projects mnist landmarks scones] [--write models/int8]

Weights and activations of the layers (convolutions and fully connected) are rounded by onnxruntime (static quantisation,
QDQ), with ranges from CALIBRATION training pictures. Each method in METHODS chooses these ranges in another way; the one
whose probabilities on the validation pictures are closest to the exact ones is kept. A network is accepted if its
validation accuracy falls by at most LIMIT, and if the validation pictures are enough to tell: with a probability of 95 %
at most LIMIT of such pictures get another class. The accepted ones are written with --write, as <project>.onnx: they take the pictures of model.onnx, and refuse the same
ones. Test accuracy is reported, and chooses nothing. Both networks take turns at one picture and at 32, on one thread.
"""

import argparse
import logging
import shutil
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process
from scipy.stats import binomtest

from benchmarks import measuring
from stages.common import files
from stages.landmarks.store import Store

METHODS = {
    "least and greatest": quantization.CalibrationMethod.MinMax,
    "99.999th percentile": quantization.CalibrationMethod.Percentile,
    "least divergence": quantization.CalibrationMethod.Entropy,
}
LAYERS = ["Conv", "Gemm"]
CALIBRATION = 256
LIMIT = 0.003
SIZES = (1, 32)
PROJECTS = ("mnist", "landmarks", "scones")

Images = NDArray[np.uint8]


class Part(NamedTuple):
    """Pictures as `model.onnx` takes them, and their labels (N)."""

    images: Images
    labels: NDArray[np.integer]


def part(project: str, name: str, most: int | None = None) -> Part:
    """Return the pictures of ``project``'s part train, valid or test, or ``most`` of them, evenly spread."""
    features = Path("data", project, "features")
    if project == "landmarks":
        store = Store(features, name)
        chosen = spread(len(store), most)
        size = files.read_json(features / "about.json")["size"]
        return Part(store.crops(chosen, size).contiguous().numpy(), store.labels.numpy()[chosen])
    with np.load(features / f"{name}.npz") as stored:
        chosen = spread(len(stored["labels"]), most)
        return Part(stored["images"][chosen], stored["labels"][chosen])


def spread(count: int, most: int | None) -> NDArray[np.int64]:
    return np.linspace(0, count - 1, min(most or count, count)).round().astype(np.int64)


class Reader(quantization.CalibrationDataReader):
    """Gives onnxruntime the pictures for calibration."""

    def __init__(self, images: Images) -> None:
        self._parts = iter([{"images": part} for part in np.array_split(images, len(images) // 16)])

    def get_next(self) -> dict[str, Images] | None:
        return next(self._parts, None)


def quantise(model: Path, images: Images, method: Any, target: Path) -> None:
    with TemporaryDirectory() as folder:
        merged = Path(folder, "merged.onnx")
        quant_pre_process(str(model), str(merged), skip_symbolic_shape=True)  # batch norm becomes part of its layer
        quantization.quantize_static(
            str(merged),
            str(target),
            Reader(images),
            op_types_to_quantize=LAYERS,
            per_channel=True,
            reduce_range=True,  # 7 bits for weights: the sums of processors without VNNI overflow at 8
            calibrate_method=method,
        )
    written, given = onnx.load(target), onnx.load(model)
    del written.metadata_props[:]
    written.metadata_props.extend(given.metadata_props)
    target.write_bytes(written.SerializeToString(deterministic=True))


def session(path: Path) -> Callable[[Images], NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    found = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    return lambda images: found.run(["probabilities"], {"images": images})[0]


def predict(answer: Callable[[Images], NDArray[np.float32]], pictures: Part) -> NDArray[np.float32]:
    parts = np.array_split(pictures.images, -(-len(pictures.images) // 100))
    return np.concatenate([answer(images) for images in parts])


def accuracy(probabilities: NDArray[np.float32], pictures: Part) -> float:
    return float((probabilities.argmax(1) == pictures.labels).mean())


def seconds(answer: Callable[[Images], Any], images: Images, repeats: int) -> float:
    begin = time.process_time()
    for _ in range(repeats):
        answer(images)
    return (time.process_time() - begin) / repeats


def measure(project: str, rounds: int, write: Path | None) -> dict[str, Any]:
    model = files.require(Path("models", project, "export", "model.onnx"), f"export@{project}")
    calibration, valid, test = part(project, "train", CALIBRATION), part(project, "valid"), part(project, "test")
    exact = session(model)
    with TemporaryDirectory() as folder:
        rounded = {name: Path(folder, f"{number}.onnx") for number, name in enumerate(METHODS)}
        for name, path in rounded.items():
            quantise(model, calibration.images, METHODS[name], path)
        expected = predict(exact, valid)
        found = {name: predict(session(path), valid) for name, path in rounded.items()}
        best = min(found, key=lambda name: float(np.abs(found[name] - expected).mean()))
        answer = session(rounded[best])
        before, after = accuracy(expected, valid), accuracy(found[best], valid)
        changed = int((found[best].argmax(1) != expected.argmax(1)).sum())
        found_changed = binomtest(changed, len(expected), alternative="less")
        at_most = float(found_changed.proportion_ci(0.95).high)  # by Clopper and Pearson 1934
        ratios = {}
        for size in SIZES:
            timed = {
                name: partial(seconds, one, test.images[:size], 32 // size)
                for name, one in (("exact", exact), ("int8", answer))
            }
            spent = measuring.in_turns(timed, rounds)
            pairs = zip(spent["exact"], spent["int8"], strict=True)
            ratios[f"pictures_{size}"] = round(statistics.median(one / other for one, other in pairs), 2)
        accepted = before - after <= LIMIT and at_most <= LIMIT
        if write and accepted:
            write.mkdir(parents=True, exist_ok=True)
            with files.new_file(write / f"{project}.onnx") as partial_file:
                shutil.copyfile(rounded[best], partial_file)
        return {
            "bytes": {"exact": model.stat().st_size, "int8": rounded[best].stat().st_size},
            "faster": ratios,
            "method": best,
            "pictures": {"valid": len(valid.labels), "test": len(test.labels)},
            "valid": {"exact": before, "int8": after},
            "changed": changed,
            "changed_at_most": round(at_most, 4),
            "test": {name: accuracy(predict(one, test), test) for name, one in (("exact", exact), ("int8", answer))},
            "accepted": accepted,
        }


def main(projects: list[str], rounds: int, write: Path | None) -> dict[str, Any]:
    logging.disable(logging.WARNING)
    found = {project: measure(project, rounds, write) for project in projects}
    for project, row in found.items():
        print(project, *(f"{name}: {value}" for name, value in row.items()), sep="\n  ")
    return {"calibration": CALIBRATION, "onnxruntime": onnxruntime.__version__, "projects": found}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--projects", nargs="+", default=list(PROJECTS), choices=PROJECTS)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", type=Path, help="a folder for the accepted networks")


if __name__ == "__main__":
    measuring.run(main, arguments)
