"""Check before anything runs that train will accept a network, its layers and its weights. Nothing is downloaded."""

from typing import Any

from stages.common.errors import InputError
from stages.common.vision import packaged


def network(key: str, name: str, table: dict[str, Any], epochs: int, classes: int | None = None) -> None:
    """Raise InputError, which begins with the project's ``key``, for a network ``name``, layers or weights that train would refuse.

    ``table`` has the parameters of that name. The number of ``classes`` may not be known yet. With 0 ``epochs``, the
    weights must include the last layer's.
    """
    try:
        if table.get("backbone") in packaged.WEIGHTS and table["weights"] == "package":
            packaged.find(table["backbone"])
            if table["fine_tune"] in ("none", "all") and set(table.get("layers", [])) <= set(packaged.LAYERS):
                # These networks take images of any size, so nothing needs torch, which takes seconds to import.
                complete(key, epochs, found=False)
                return
        if "backbone" not in table and table["weights"] == "none":
            complete(key, epochs, found=False)
            return
        from stages.common.vision import classifiers

        others = {name: value for name, value in table.items() if name != "weights"}
        built = classifiers.build(name, others, classes or 2, table["weights"], download=False)
        if not epochs and not classes and built.initial and built.initial.last:
            classes = len(built.initial.last["weight"])
            built = classifiers.build(name, others, classes, table["weights"], download=False)
        complete(key, epochs, built.complete)
    except InputError as error:
        raise InputError(f"params.yaml: {key}.{name}: {error}") from None


def complete(key: str, epochs: int, found: bool) -> None:
    """Raise InputError if nothing is to be trained, and the weights of the last layer were not ``found``."""
    if not epochs and not found:
        raise InputError(
            f"{key}.epochs = 0 is not allowed without all weights: expected at least 1, or `weights` with a file that "
            "has the last layer, of these classes"
        )
