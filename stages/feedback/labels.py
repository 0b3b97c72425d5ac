"""Order captured pictures for labelling, with a suggestion for each, and find labels that look like mistakes.

Suggestions are the captured predictions. The model that made them has not seen the labels, so they also show mistakes:
this is confident learning (https://arxiv.org/abs/1911.00068). The package cleanlab would need the probabilities of all
classes, but captures have only the highest one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from stages.common.errors import InputError
from stages.common.sources import label_table


class Item(NamedTuple):
    """A captured picture that a person should look at."""

    file: str
    label: str
    """Its label; empty if it has none."""
    suggestion: str
    """The captured answer's class; empty if there is none, or if the picture is held out to judge models."""
    confidence: float
    """Of the captured answer; 0 if there is none."""
    unknown: bool
    """Whether the model said that the picture resembles none of the classes."""
    doubtful: bool = False
    """Whether the label looks like a mistake."""


def items(folder: Path, classes: Sequence[str]) -> list[Item]:
    """Return the pictures to look at: first the most doubtful labels, then those without label, unknown ones and the least confident first.

    Raises InputError if labels.csv is invalid.
    """
    rows = [row for _, row in label_table.read(folder / label_table.TABLE)[1]]
    there = [row for row in rows if label_table.NAME.fullmatch(row["file"]) and (folder / row["file"]).is_file()]
    found = [_item(row, classes) for row in there]
    usual = {name: _self_confidence(found, name, len(classes)) for name in classes}
    doubtful = [
        item._replace(doubtful=True)
        for item in found
        if item.label and item.suggestion not in ("", item.label) and item.confidence >= usual[item.suggestion]
    ]
    doubtful.sort(key=lambda item: (-item.confidence, item.file))
    unlabelled = [item for item in found if not item.label]
    return doubtful + sorted(unlabelled, key=lambda item: (not item.unknown, item.confidence, item.file))


def _item(row: dict[str, str], classes: Sequence[str]) -> Item:
    try:
        confidence = min(max(float(row.get("confidence") or 0), 0.0), 1.0)
    except ValueError:
        confidence = 0.0
    predicted = row.get("predicted", "")
    suggestion = predicted if predicted in classes and row.get("held_out") != "yes" else ""
    return Item(row["file"], row["label"].strip(), suggestion, confidence, row.get("known") == "no")


def _self_confidence(found: Sequence[Item], name: str, classes: int) -> float:
    """Return the mean probability of the class ``name`` for pictures with that label. Predictions below it don't count.

    If another class was predicted, the probability of ``name`` is estimated as an equal part of the rest. Without such
    pictures, no prediction counts.
    """
    own = [item for item in found if item.label == name and item.suggestion]
    chances = [item.confidence if item.suggestion == name else (1 - item.confidence) / (classes - 1) for item in own]
    return sum(chances) / len(chances) if chances else float("inf")


def write(folder: Path, file: str, label: str) -> str:
    """Give the picture ``file`` a ``label``, or none if it is empty. Returns its former one. The other rows stay as they are.

    Raises InputError if labels.csv is invalid or has no such picture.
    """
    table = folder / label_table.TABLE
    header, numbered = label_table.read(table)
    rows = [row for _, row in numbered]
    chosen = [row for row in rows if row["file"] == file]
    if len(chosen) != 1:
        raise InputError(f"{table}: found {len(chosen)} rows of {file}, expected one: load the page again")
    former, chosen[0]["label"] = chosen[0]["label"], label
    label_table.write(table, header, rows)
    return former
