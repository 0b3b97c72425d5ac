"""Check before anything runs that train will accept a backbone, its layers and its weights. Nothing is downloaded."""

from typing import Any

from stages.common.errors import InputError
from stages.common.vision import packaged


def transfer(key: str, table: dict[str, Any]) -> None:
    """Raise InputError, which begins with ``key``, for a network, layers or weights in ``table`` that train would refuse."""
    try:
        if table["weights"] == "package" and table["backbone"] in packaged.WEIGHTS:
            packaged.find(table["backbone"])
            if table["fine_tune"] in ("none", "all") and set(table.get("layers", [])) <= set(packaged.LAYERS):
                return  # these networks take images of any size, so nothing needs torch, which takes seconds to import
        from stages.common.vision import classifiers

        others = {name: value for name, value in table.items() if name != "weights"}
        classifiers.build("transfer", others, 2, table["weights"], download=False)
    except InputError as error:
        raise InputError(f"params.yaml: {key}: {error}") from None
