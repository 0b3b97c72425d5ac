"""Give AutoGluon's files the same bytes each time: without times, random identifiers, Python's version and their original folder.

AutoGluon and CatBoost store how long each step took, when training ended and where it ran. Nothing here reads that
again, and AutoGluon sets its paths when it loads a predictor. Predictions do not change.
"""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, ClassVar

from stages.common import files

PLACE = "models"
"""Replaces the folder's absolute path."""

CLOCKS = {
    *("fit_time", "predict_time", "predict_child_time", "predict_n_time_per_row", "predict_1_time"),
    *("predict_1_child_time", "preprocess_1_time", "compile_time"),
    *(
        "_time_fit_total",
        "_time_fit_preprocessing",
        "_time_fit_training",
        "_time_train_start",
        "_time_train_start_last",
    ),
}
"""Attributes and keys that hold seconds. Their numbers become 0."""

PYTHON = "_python_version"
"""Attribute of AutoGluon's learner with the version of Python, which nothing reads. It becomes empty."""

CATBOOST = ("train_finish_time", "model_guid")
"""Metadata of a CatBoost model that become empty: when its training ended, and a random identifier."""


def normalise(folder: Path) -> None:
    """Rewrite every pickle below ``folder``. Call this only for files that this process or its cluster has just made.

    Files in other formats are not changed: XGBoost's files hold no times.
    """
    for path in sorted(folder.rglob("*.pkl")):
        with path.open("rb") as file:
            if file.read(1) != pickle.PROTO:
                continue
            file.seek(0)
            content = pickle.load(file)  # noqa: S301 (made here)
            if file.read(1):  # more than one pickle, as in torch's older format
                continue
        with files.new_file(path) as partial, partial.open("wb") as new:
            _Pickler(new, str(folder.resolve())).dump(content)


class _Pickler(pickle._Pickler):
    """A pickler that leaves out times and ``place``, sorts sets and stores equal strings once.

    It changes the pickled objects.

    Pickle stores an object once if it is the same object in memory. For equal strings that depends on where they come
    from, for example on whether a worker of a cluster sent the model.
    """

    dispatch: ClassVar[dict[type, Callable[[Any, Any], None]]] = dict(pickle._Pickler.dispatch)
    memo: dict[int, tuple[int, Any]]

    def __init__(self, file: IO[bytes], place: str) -> None:
        super().__init__(file, protocol=4)  # AutoGluon's
        self.place, self.texts = place, dict[str, str]()

    def reducer_override(self, obj: Any) -> Any:
        if type(obj).__module__ == "catboost.core" and hasattr(obj, "get_metadata"):
            metadata = obj.get_metadata()
            for key in CATBOOST:
                if key in metadata:
                    metadata[key] = ""
        return NotImplemented

    def save_text(self, text: str) -> None:
        text = text.replace(self.place, PLACE)
        text = self.texts.setdefault(text, text)
        if id(text) in self.memo:
            self.write(self.get(self.memo[id(text)][0]))  # type: ignore[attr-defined]
        else:
            super().save_str(text)  # type: ignore[misc]

    def save_mapping(self, mapping: dict[Any, Any]) -> None:
        for key in CLOCKS & mapping.keys():
            if isinstance(mapping[key], int | float):
                mapping[key] = 0.0
        if PYTHON in mapping:
            mapping[PYTHON] = ""
        super().save_dict(mapping)  # type: ignore[misc]

    def save_members(self, members: set[Any] | frozenset[Any]) -> None:
        self.save_reduce(type(members), (sorted(members, key=repr),), obj=members)  # type: ignore[attr-defined]

    dispatch |= {str: save_text, dict: save_mapping, set: save_members, frozenset: save_members}
