"""Save networks as ONNX, with all preprocessing, and load them with onnxruntime. The same network gives the same bytes."""

import io
import json
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper
from torch import Tensor, nn

from stages.common.models.inputs import Form, Gated

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it would report to Microsoft, and leave a file in $TMPDIR

import onnxruntime

OPSET = 17
"""Version of ONNX's operators. Known to onnxruntime since 1.12, of 2022."""

CLASS_NAMES = "class_names"
"""Name of the JSON list of classes in a model's metadata."""

OUTPUTS = ("probabilities", "familiarity", "certainty")
"""Names of a network's outputs, in order. A network has at least the first."""


def save(
    classifier: nn.Module,
    form: Form,
    shape: tuple[int, ...],
    axes: Mapping[int, str],
    path: Path,
    class_names: list[str],
) -> None:
    """Write ``classifier`` to ``path``. It takes images of ``form`` and returns the first of OUTPUTS.

    ``shape`` is that of an example. The ``axes`` (dimension to name) of an image may have any size.
    """
    buffer = io.BytesIO()
    gated = Gated(classifier, form).eval()
    example = torch.arange(math.prod(shape)).remainder(251).to(torch.uint8).view(shape)  # one colour would be refused
    with torch.no_grad():
        answers = gated(example)
    outputs = OUTPUTS[: len(answers) if isinstance(answers, tuple) else 1]
    _know_addcmul()
    with warnings.catch_warnings(), torch.no_grad():
        # Deprecated in favour of torch.export's way, which takes 20 s instead of 1 s for landmarks.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            gated,
            (example,),
            buffer,  # type: ignore[arg-type]  # this way takes any file
            dynamo=False,
            # Keep batch norm: torch would merge it into the weights with a square root that rounds differently on
            # different processors. onnxruntime merges it when it loads the model.
            training=torch.onnx.TrainingMode.PRESERVE,
            opset_version=OPSET,
            input_names=["images"],
            output_names=list(outputs),
            dynamic_axes={"images": dict(axes)} | {name: {0: axes[0]} for name in outputs},
        )
    model = onnx.load_from_string(buffer.getvalue())
    gates = [node for node in model.graph.node if node.op_type == "Gather" and node.input[0] == "gate"]
    for node, reason in zip(gates, gated.reasons(), strict=True):
        node.name = reason
    helper.set_model_props(model, {CLASS_NAMES: json.dumps(class_names), "expected": form.words})
    path.write_bytes(model.SerializeToString(deterministic=True))


def _know_addcmul() -> None:
    """Let the exporter take `torch.addcmul(..., out=...)`, of `pixels.normalise`, whose result is also its output."""

    def addcmul(graph: Any, added: Any, one: Any, other: Any, value: Any, out: Any = None) -> Any:
        return graph.op("Add", added, graph.op("Mul", one, other))

    torch.onnx.register_custom_op_symbolic("aten::addcmul", addcmul, OPSET)  # type: ignore[attr-defined]


def load(path: Path) -> tuple[Callable[[Tensor], Tensor], list[str]]:
    """Return the network, which gives probabilities (N, classes), and the names of its classes."""
    session = _session(path)
    return _answering(session, OUTPUTS[:1]), json.loads(session.get_modelmeta().custom_metadata_map[CLASS_NAMES])


def load_judged(path: Path) -> Callable[[Tensor], Tensor]:
    """Return the network, which gives probabilities and, in a last column, the familiarity: (N, classes + 1)."""
    return _answering(_session(path), OUTPUTS[:2])


def _answering(session: Any, outputs: Sequence[str]) -> Callable[[Tensor], Tensor]:
    return lambda images: torch.from_numpy(np.column_stack(session.run(outputs, {"images": images.numpy()})))


def _session(path: Path) -> Any:
    """Return the network as onnxruntime computes it on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # a refusal is raised, and need not be logged as well
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
