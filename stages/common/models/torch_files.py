"""Save networks as files that torch can run without their code: as TorchScript and in torch.export's format.

The same network gives the same bytes. Both formats also store text, such as the names of the classes.
"""

import io
import json
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.common.errors import InputError
from stages.common.models.inputs import Asserted, Checked, Form

EXTRA = "classes.json"
"""Name of the text that is stored with a network: its classes and the facts about them."""

CLASS_NAMES, TORCH = "class_names", "torch"
"""Names of two texts in a file of torch.export: a JSON list of the classes, and the versions that write and read the file."""

READABLE_SINCE = "2.9"
"""First version of torch that reads this version's files of torch.export: see benchmarks/results/reach.json."""


@contextmanager
def _undeprecated() -> Iterator[None]:
    """Leave out the warning that TorchScript is deprecated in favour of torch.export."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")
        yield


@_undeprecated()
def save_torchscript(model: torch.jit.ScriptModule, path: Path, classes: Any) -> None:
    """Write ``model`` to a file, together with ``classes`` (any JSON value)."""
    buffer = io.BytesIO()
    torch.jit.save(model, buffer, _extra_files={EXTRA: json.dumps(classes)})
    # Leave out debugging records, which have the path of this checkout, and their hash.
    with zipfile.ZipFile(buffer) as whole, zipfile.ZipFile(path, "w") as kept:
        for name in whole.namelist():
            if not name.endswith((".debug_pkl", "serialization_id")):
                kept.writestr(zipfile.ZipInfo(name), whole.read(name))


@_undeprecated()
def load_torchscript(path: Path) -> tuple[torch.jit.ScriptModule, Any]:
    """Return the network and the value that was stored with it."""
    extra = {EXTRA: ""}
    return torch.jit.load(path, _extra_files=extra), json.loads(extra[EXTRA])


def save_exported(
    classifier: nn.Module, form: Form, example: Tensor, path: Path, class_names: list[str], classes: Any
) -> None:
    """Write ``classifier``, which takes images of ``form``, to a file that refuses all other images.

    No size of ``example``, which is traced, may be 0 or 1, or that of another dimension or of ``form``: torch.export
    would treat it as fixed. ``class_names``, ``classes`` (any JSON value) and the versions of torch that read the file are
    stored with it.
    """
    dynamic = dict.fromkeys(range(example.ndim), torch.export.Dim.DYNAMIC)
    program = torch.export.export(Asserted(classifier, form), (example,), dynamic_shapes=(dynamic,))
    # Replaces torch's conditions on sizes. They would be checked before the graph's own, and their messages don't mention pictures.
    program._guards_code = [f"L['images'].dim() == {example.ndim}"]
    extra = {EXTRA: json.dumps(classes), CLASS_NAMES: json.dumps(class_names), TORCH: json.dumps(about())}
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else []:
            node.meta.pop("stack_trace", None)  # it has the path of this checkout
    buffer = io.BytesIO()  # writing to a full disk, torch would end the process
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No complete tensor found")  # a constant that is part of another one
        torch.export.save(program, buffer, extra_files=extra)
    path.write_bytes(buffer.getbuffer())


def load_exported(path: Path) -> tuple[Callable[[Tensor], Tensor], Any]:
    """Return the network and the value that was stored with it."""
    extra = {EXTRA: ""}
    return torch.export.load(path, extra_files=extra).module(), json.loads(extra[EXTRA])


def about() -> dict[str, str]:
    """Return the version of torch that writes files of torch.export here, `written_by`, and those that read them, `read_by`."""
    return {"written_by": torch.__version__.partition("+")[0], "read_by": f">={READABLE_SINCE}"}


@_undeprecated()
def traced(network: nn.Module, example: Tensor, *methods: str) -> torch.jit.ScriptModule:
    """Return ``network``, which must have no branches, as TorchScript, with further ``methods`` that take the same input.

    Scripting would order constants differently in each process.
    """
    inputs = dict.fromkeys(("forward", *methods), example)
    return torch.jit.trace_module(network, inputs, check_trace=False)  # type: ignore[no-any-return]


@_undeprecated()
def scripted(checked: Checked) -> torch.jit.ScriptModule:
    """Return a traced classifier with its checks as TorchScript."""
    return torch.jit.script(checked.eval())


def prove(project: str, name: str, answers: Tensor, expected: Tensor, tolerance: float) -> None:
    """Raise InputError unless the ``answers`` (N, classes) of the export ``name`` match ``expected``, which are evaluate's."""
    changed = int((answers.argmax(1) != expected.argmax(1)).sum())
    difference = (answers - expected).abs().max().item()
    if changed or not difference <= tolerance:
        raise InputError(
            f"{name}: {changed} of {len(answers)} test images get another class, and probabilities differ by up to {difference:.2g}, "
            f"expected evaluate's within {tolerance:g}: run `dvc repro export@{project}` so that all results come from one model"
        )
    print(
        f"{name}: the classes of all {len(answers)} test images match evaluate's, probabilities within {difference:.2g}"
    )


def prove_known(
    project: str, name: str, familiarity: NDArray[np.float64], expected: NDArray[np.float64], tolerance: float
) -> None:
    """Raise InputError unless the ``familiarity`` (N) by the export ``name`` matches ``expected``, which is evaluate's."""
    difference = float(np.abs(familiarity - expected).max())
    if not difference <= tolerance:
        raise InputError(
            f"{name}: the familiarity of the {len(expected)} test images differs by up to {difference:.2g}, expected evaluate's "
            f"within {tolerance:g}: run `dvc repro export@{project}` so that all results come from one model"
        )
