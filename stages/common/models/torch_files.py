"""Networks as files that torch alone can run: TorchScript and torch.export's form, the same network the same bytes.

Both carry texts of their user's choosing, such as the names of the classes.
"""

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

EXTRA = "classes.json"
"""The text that goes with a network."""


def save_torchscript(model: torch.jit.ScriptModule, path: Path, classes: Any) -> None:
    """``model`` as a file, ``classes`` (anything JSON has) within."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")  # torch.export's is the form with a future
        torch.jit.save(model, buffer, _extra_files={EXTRA: json.dumps(classes)})
    # Left out: debugging records, which hold the path of this very checkout, and the hash over them.
    with zipfile.ZipFile(buffer) as whole, zipfile.ZipFile(path, "w") as kept:
        for name in whole.namelist():
            if not name.endswith((".debug_pkl", "serialization_id")):
                kept.writestr(zipfile.ZipInfo(name), whole.read(name))


def load_torchscript(path: Path) -> tuple[torch.jit.ScriptModule, Any]:
    """The network and what was stored with it."""
    extra = {EXTRA: ""}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")
        model = torch.jit.load(path, _extra_files=extra)
    return model, json.loads(extra[EXTRA])


def save_exported(program: torch.export.ExportedProgram, path: Path, classes: Any) -> None:
    """``program`` as a file, ``classes`` (anything JSON has) within."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else []:
            node.meta.pop("stack_trace", None)  # it holds the path of this very checkout
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No complete tensor found")  # a constant that is a part of another one
        torch.export.save(program, path, extra_files={EXTRA: json.dumps(classes)})


def load_exported(path: Path) -> tuple[Callable[[Tensor], Tensor], Any]:
    """The network and what was stored with it."""
    extra = {EXTRA: ""}
    return torch.export.load(path, extra_files=extra).module(), json.loads(extra[EXTRA])


def differences(answers: Tensor, expected: Tensor) -> tuple[int, float]:
    """In how many rows (N, classes) another class is the most probable one, and how far apart probabilities are at most."""
    return int((answers.argmax(1) != expected.argmax(1)).sum()), (answers - expected).abs().max().item()
