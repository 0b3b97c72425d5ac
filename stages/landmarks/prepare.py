"""Check folders of photographs, one per class, and pack them into one form (stages/landmarks/photographs.py).

train/<class>/*, test/<class>/*  or one tree <class>/*, of which a fraction becomes the test set; in the source's folder, or in its
                                 only subfolder, as in unpacked archives
valid/<class>/*                  beside those two, also as val, validation or dev: the validation split
places.csv                       class,latitude,longitude, beside those folders, for classes with known coordinates

Every file is decoded once. Files that are not pictures, files that are in no class folder, and copies are left out.
Labelled captured photographs (data/landmarks/labelled/) are added to the training photographs. A picture, known by its
pixels, is used once, in one split: see `copies.excess`. A source's own test set is not changed. If too many photographs
of different splits look the same, prepare fails.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.common import config, files
from stages.common.errors import InputError
from stages.common.program import run
from stages.common.sources import copies, folders, label_table, listing
from stages.common.sources.copies import NearCopy
from stages.common.sources.folders import Candidate, RefusedFile, Tree
from stages.common.sources.source import open_source
from stages.common.sources.splits import stratified
from stages.landmarks import photographs
from stages.landmarks.config import Data, Photographs
from stages.landmarks.photographs import SPLITS, Packed, Photograph
from stages.landmarks.sources import official, sample
from stages.landmarks.sources.intake.coordinates import read_places
from stages.landmarks.sources.intake.inspection import Inspected, inspect_all

RAW = Path("data/landmarks/raw")
LABELLED = Path("data/landmarks/labelled")

PLACES = "places.csv"
"""The table of coordinates beside the folders. It is the only file of a source that is no photograph and is read."""

LISTED = 10
"""How many refused files are printed when there are too many."""


class Selected(NamedTuple):
    """The photographs to pack, train before valid before test, the files to leave out by kind, and near copies."""

    kept: list[Packed]
    unusable: list[RefusedFile]
    copies: list[RefusedFile]
    near: list[NearCopy]
    notes: list[str]
    """Sentences about near copies, and copies within the test set."""


def select(tree: Tree, pictures: Sequence[Inspected | str], settings: Photographs) -> Selected:
    """Return the selected photographs.

    ``pictures`` holds for each of the tree's candidates its picture, or the reason why it is refused. Raises InputError
    if too many are refused, if a class has no photograph left in a split, or for too many near copies.
    """
    inspected = list(zip(tree.candidates, pictures, strict=True))
    unusable = tree.refused + [RefusedFile(tree.name(one.file), why) for one, why in inspected if isinstance(why, str)]
    check_share(tree, sorted(unusable), settings.max_refused)
    readable = [(one, picture) for one, picture in inspected if isinstance(picture, Inspected)]
    known = [
        copies.LabelledPicture(tree.name(one.file), one.split or "train", one.label, picture.sha256)
        for one, picture in readable
    ]
    excess = copies.excess(known)
    left_out = [RefusedFile(known[index].file, reason) for index, reason in excess.items()]
    kept = split([one for index, one in enumerate(readable) if index not in excess], tree.classes, settings)
    check_classes(tree, kept, unusable + left_out)
    looks = {part: {tree.name(one.file): one.look for one in kept if one.photograph.split == part} for part in SPLITS}
    near = copies.near_copies(looks)
    setting = "data.landmarks.photographs.max_near_copies"
    note = copies.check_near(near, looks, tree.root, setting, settings.max_near_copies)
    notes = [note] if note else []
    if repeated := copies.repeated(known):
        notes.append(f"{repeated} test photographs are copies of another one: the source's test set is not changed")
    return Selected(kept, unusable, left_out, near, notes)


def split(
    readable: Sequence[tuple[Candidate, Inspected]], classes: Sequence[str], settings: Photographs
) -> list[Packed]:
    """Return the photographs, train before valid before test. Without a split, a fraction of each class is the test set."""
    # Without the labelled photographs, so that these don't change the test set.
    labels = np.array([candidate.label for candidate, _ in readable if candidate.split is None], np.int64)
    chosen = iter(stratified(labels, settings.test_fraction, settings.seed))
    packed = []
    for candidate, picture in readable:
        part = candidate.split or ("test" if next(chosen) else "train")
        path = f"{classes[candidate.label]}/{candidate.stored}"
        photograph = Photograph(part, path, candidate.label, picture.width, picture.height)
        packed.append(Packed(photograph, candidate.file, picture.look, picture.bytes, picture.sha256))
    return sorted(packed, key=lambda one: SPLITS.index(one.photograph.split))


def captured(classes: Sequence[str]) -> list[Candidate]:
    """Return the captured photographs that somebody has labelled, which are for training."""
    there = {files.nfc(path.name): path for path in listing.entries(LABELLED)} if LABELLED.is_dir() else {}
    found = label_table.labels(LABELLED, there, classes)
    return [Candidate("train", label, there[name], f"labelled_{there[name].name}") for name, label in found.items()]


def check_share(tree: Tree, bad: Sequence[RefusedFile], allowed: float) -> None:
    """Raise InputError if more than the fraction ``allowed`` of all files is ``bad``, after printing the first of them."""
    total = len(tree.candidates) + len(tree.refused)
    if len(bad) > allowed * total:
        for path, reason in bad[:LISTED]:
            print(f"{path}: {reason}", file=sys.stderr)
        share = f"data.landmarks.photographs.max_refused = {allowed}"
        raise InputError(
            f"{tree.root}: found {len(bad)} of {total} files in class folders that cannot be used, the first is {bad[0].path} "
            f"({bad[0].reason}), expected at most the fraction {share} (the first {min(len(bad), LISTED)} are listed above; "
            f"with a larger fraction, {RAW / 'refused.csv'} lists all of them)"
        )


def check_classes(tree: Tree, kept: Sequence[Packed], refused: Sequence[RefusedFile]) -> None:
    """Raise InputError if a class has no photograph in a split."""
    there = {(packed.photograph.split, packed.photograph.label) for packed in kept}
    brought = {candidate.split for candidate in tree.candidates}
    for part in (part for part in SPLITS if part != "valid" or part in brought):
        for label, name in enumerate(tree.classes):
            if (part, label) not in there:
                own = sorted(one for one in refused if name in map(files.nfc, Path(one.path).parent.parts))
                why = f" ({len(own)} of its files are refused, first {own[0].path}: {own[0].reason})" if own else ""
                found = f"no photograph of {name} for {part}{why}"
                raise InputError(f"{tree.root}: found {found}, expected at least 1 in every class")


def count(tree: Tree, selected: Selected) -> dict[str, int]:
    """Return how many files were found, which is the sum of the other numbers: of how many are used and left out, by kind."""
    used = Counter(one.photograph.split for one in selected.kept)
    left_out = {"unusable": selected.unusable, "copies": selected.copies, "others": tree.ignored}
    counts = {part: used[part] for part in SPLITS} | {"tables": int(tree.table is not None)}
    counts |= {kind: len(files) for kind, files in left_out.items()}
    return {"found": sum(counts.values()), **counts}


def report(source: str, tree: Tree, counts: Mapping[str, int], labelled: int) -> str:
    """Return how many files there are, of which so many are ``labelled`` ones, and how many are used and left out, by kind."""
    parts = {"train": "training", "valid": "validation", "test": "test"}
    used = ", ".join(f"{counts[part]} {words}" for part, words in parts.items() if counts[part])
    table = " and a table of places" if counts["tables"] else ""
    total, own = counts["found"], f" ({labelled} of them labelled captured ones)" if labelled else ""
    left = {"unusable": "unusable", "copies": "copies", "others": "of systems or in no class folder"}
    kinds = ", ".join(f"{counts[kind]} {words}" for kind, words in left.items() if counts[kind])
    count = sum(counts[kind] for kind in left)
    out = f"{count} files left out ({kinds}; refused.csv there has the reasons)" if count else "no file left out"
    return (
        f"landmarks from {source}, {total} files{own}: {used} photographs of {len(tree.classes)} classes{table} in {RAW}, {out}; "
        "next: dvc repro featurize@landmarks"
    )


def main() -> None:
    settings = config.load("data.landmarks", Data)
    with open_source("landmarks", settings, sample.write, official.fetch) as source:
        tree = folders.read(source.folder, PLACES)
        extra = captured(tree.classes)
        # The source's photographs come first in their class, so that of equal ones they are kept.
        order = sorted(tree.candidates + extra, key=lambda one: (SPLITS.index(one.split or "train"), one.label))
        tree = tree._replace(candidates=order)
        places = read_places(tree.table, tree.classes)
        max_pixels = settings.photographs.max_megapixels * 1_000_000
        pictures = inspect_all([candidate.file for candidate in tree.candidates], max_pixels)
        selected = select(tree, pictures, settings.photographs)
        refused = sorted(selected.unusable + selected.copies + tree.ignored)
        with files.new_folder(RAW) as folder:
            photographs.write(folder, selected.kept, places, refused, source.name)
            copies.write_near(folder / "near_copies.csv", selected.near)
            counts = count(tree, selected)
            files.write_json(folder / "counts.json", counts)
    for note in selected.notes:
        print(f"warning: {note}")
    print(report(source.name, tree, counts, len(extra)))


if __name__ == "__main__":
    run(main)
