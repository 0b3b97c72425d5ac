"""Load a state_dict of one's own as a network's initial weights: read, check and map it to the network's names.

Such a file is untrusted: torch reads tensors from it and runs no code. It may come from another definition of the same
network, so names may differ.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from stages.common import files
from stages.common.errors import InputError
from stages.common.vision import packaged

WRAPPERS = ("state_dict", "model_state_dict", "state_dict_ema", "model")
"""Names under which training programs store the state_dict in a checkpoint."""

COUNTER = "num_batches_tracked"
"""A buffer of batch norm that prediction doesn't read, and that old files lack."""

SHOWN = 8
"""Layers whose names `Initial.mapping` lists."""


class Initial(NamedTuple):
    """What was loaded from a file."""

    file: str
    """Its path, as it was given."""
    sha256: str
    mapping: str
    """Which of its names became which of the network's, in words."""
    body: str
    """The same without the last layer."""
    last: dict[str, Tensor]
    """`weight` (classes, inputs) and, if it has one, `bias` (classes) of its last layer. Empty if it has no such layer."""

    def words(self) -> str:
        return f"initial weights of {self.file}: {self.mapping}"

    def about(self, epochs: int) -> dict[str, Any]:
        """Return what the model card says of the file, and for how many ``epochs`` training went on from it."""
        return {"file": self.file, "sha256": self.sha256, "mapping": self.mapping, "epochs": epochs}


def loaded(network: nn.Sequential, weights: str) -> tuple[Initial | None, bool]:
    """Load the file ``weights`` into a ``network`` of this project; `none`: nothing. Also returns whether it had the last layer."""
    if weights == "none":
        return None, False
    last = str(len(network) - 1)
    found = load(network, weights, [last], by_order=True)
    shapes = {name: value.shape for name, value in network[-1].state_dict().items()}
    return found, shapes == {name: value.shape for name, value in found.last.items()}


def files_of(weights: str) -> list[Path]:
    """Return the file that the parameter ``weights`` names, if it names one."""
    return [] if weights in packaged.NAMED else [path(weights)]


def path(weights: str) -> Path:
    """Return the file of the parameter ``weights``. Raises InputError if it isn't there."""
    with suppress(OSError, RuntimeError, ValueError):  # an unknown user's home, a name that no file can have
        found = files.home() / Path(weights).expanduser()
        if found.is_file():
            return found
    raise InputError(f"weights = {weights!r}: there is no such file: expected none, or the path of a state_dict")


def load(network: nn.Module, weights: str, last: Sequence[str], by_order: bool) -> Initial:
    """Load the file ``weights`` into ``network``, the last layer, whose modules are ``last``, only if it has the same shape.

    Names must be the network's, after a common beginning such as `module.`. With ``by_order`` they may be others, if the
    layers have the same shapes in the same order. Raises InputError if the file is no state_dict, has values that are
    not finite, or doesn't fit; then the network has not changed.
    """
    file = path(weights)
    given = _read(file, weights)
    target = {name: value for name, value in network.state_dict().items() if not name.endswith(COUNTER)}
    own_last = [name for name in target if _layer(name) in last]
    names = _by_name(target, given, own_last)
    if names is None and by_order:
        names = _by_order(target, given, own_last, weights)
    if names is None:
        raise _unfit(weights, _difference(target, given, own_last))
    fits = {name: given[other].shape == target[name].shape for name, other in names.items()}
    for name, other in names.items():
        if not fits[name] and (name not in own_last or given[other].shape[1:] != target[name].shape[1:]):
            expected = list(target[name].shape)
            raise _unfit(weights, f"{other} has the shape {list(given[other].shape)}, expected {expected}")
    complete = all(name in names for name in own_last)
    whole = complete and all(fits[name] for name in own_last)
    loaded = [name for name in names if name not in own_last or whole]
    network.load_state_dict({name: given[names[name]] for name in loaded}, strict=False)
    ends = {_value(name): given[names[name]].float() for name in own_last} if complete and len(last) == 1 else {}
    body = {name: other for name, other in names.items() if name not in own_last}
    return Initial(weights, files.digest(file), _words(names, loaded), _words(body, list(body)), ends)


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _value(name: str) -> str:
    return name.rpartition(".")[2]


def _unfit(weights: str, found: str) -> InputError:
    return InputError(
        f"weights {weights!r} can't be used ({found}): expected the network's state_dict, "
        "as torch.save(network.state_dict(), path) writes it"
    )


def _read(file: Path, weights: str) -> dict[str, Tensor]:
    """Return the tensors of a file of torch or safetensors by their names, without wrappers and common beginnings."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(file)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of TorchScript, which is refused
                content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or foreign file can raise many types of errors
        raise _unfit(weights, " ".join(f"{type(error).__name__}: {error}".split())[:100]) from None
    while isinstance(content, Mapping):
        inner = [content[name] for name in WRAPPERS if isinstance(content.get(name), Mapping)]
        if not inner:
            break
        content = inner[0]
    if not isinstance(content, Mapping) or not content:
        raise _unfit(weights, f"it holds {type(content).__name__}, not tensors by name")
    found = {str(name): value for name, value in content.items() if not str(name).endswith(COUNTER)}
    for name, value in found.items():
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.layout != torch.strided:
            kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise _unfit(weights, f"{name} is {kind}, not a tensor of floating-point numbers")
        if not value.float().isfinite().all():
            raise _unfit(weights, f"{name} has values that are not finite")
        if _value(name) == "running_var" and value.min() < 0:
            raise _unfit(weights, f"{name} has negative variances")
    return found


def _by_name(target: Mapping[str, Tensor], given: Mapping[str, Tensor], last: Sequence[str]) -> dict[str, str] | None:
    """Return the file's name of each of the network's. None if one is missing or left over, apart from the ``last`` layer's."""
    names = {name: name for name in given}
    while True:
        if target.keys() - set(last) <= names.keys() <= target.keys():
            return {name: names[name] for name in target if name in names}
        first = {name.partition(".")[0] for name in names}
        if len(first) != 1 or not all("." in name for name in names):
            return None
        names = {name.partition(".")[2]: whole for name, whole in names.items()}


def _by_order(
    target: Mapping[str, Tensor], given: Mapping[str, Tensor], last: Sequence[str], weights: str
) -> dict[str, str] | None:
    """Return the file's name of each of the network's if their layers agree one by one. None if they don't.

    Raises InputError if layers of the same shapes could be exchanged.
    """
    wanted = [name for name in target if len(given) == len(target) or name not in last]
    if len(given) != len(wanted):
        return None
    for name, other in zip(wanted, given, strict=True):
        if _value(name) != _value(other):
            return None
        if name not in last and target[name].shape != given[other].shape:
            return None
    layers: dict[str, list[tuple[int, ...]]] = {}
    for name, value in given.items():
        layers.setdefault(_layer(name), []).append(tuple(value.shape))
    for shapes in layers.values():
        alike = [name for name, others in layers.items() if others == shapes]
        if alike != sorted(alike, key=_natural):
            raise _unfit(
                weights,
                f"its layers {alike[0]} and {alike[1]} have the same shapes, and their names don't tell which comes first",
            )
    return dict(zip(wanted, given, strict=True))


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts conv2 before conv10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def _difference(target: Mapping[str, Tensor], given: Mapping[str, Tensor], last: Sequence[str]) -> str:
    """Say how the file's tensors differ from the network's."""
    missing = [name for name in target if name not in given and name not in last]
    more = [name for name in given if name not in target]
    if len(given) == len(target):
        pairs = zip(target.items(), given.items(), strict=True)
        for (name, expected), (other, value) in pairs:
            if value.shape != expected.shape or _value(name) != _value(other):
                return f"{other} {list(value.shape)} stands where the network has {name} {list(expected.shape)}"
    words = [f"it has {len(given)} tensors, the network {len(target)}"]
    words += [f"missing: {', '.join(missing[:3])}"] if missing else []
    words += [f"left over: {', '.join(more[:3])}"] if more else []
    return "; ".join(words)


def _words(names: Mapping[str, str], loaded: Sequence[str]) -> str:
    """Say how the layers of the file map to the network's."""
    layers = {_layer(name): _layer(other) for name, other in names.items()}
    out = sorted({_layer(names[name]) for name in names.keys() - set(loaded)})
    changed = [f"{other} -> {name}" for name, other in layers.items() if other != name]
    words = ", ".join(changed[:SHOWN]) or "names unchanged"
    words += f" and {len(changed) - SHOWN} more layers" if len(changed) > SHOWN else ""
    return f"{len(loaded)} tensors, {words}" + (f"; not loaded: {', '.join(out)}, for other classes" if out else "")
