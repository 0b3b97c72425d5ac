"""Check folders of photographs, one per class, and pack them into one form (stages/landmarks/photographs.py).

train/<class>/*, test/<class>/*  or one tree <class>/*, of which a fraction becomes the test set; in the source's folder, or in its
                                 only subfolder, as in unpacked archives
places.csv                       class,latitude,longitude, beside those folders, for classes with known coordinates

Every file is decoded once. Files that are not pictures are left out and listed in refused.csv. So are training
photographs whose pixels equal a test photograph's, or a training photograph's of another class. In the second case it
is unknown which class is correct, so both copies are left out. The test set is not changed.
"""

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages.common import config, files
from stages.common.errors import InputError
from stages.common.program import run
from stages.common.sources.source import open_source
from stages.common.sources.splits import stratified
from stages.landmarks import photographs
from stages.landmarks.config import Data, Photographs
from stages.landmarks.photographs import SPLITS, Packed, Photograph, Refused
from stages.landmarks.sources import official, sample
from stages.landmarks.sources.intake import folders
from stages.landmarks.sources.intake.coordinates import read_places
from stages.landmarks.sources.intake.folders import Candidate, Tree
from stages.landmarks.sources.intake.inspection import Inspected, inspect_all

RAW = Path("data/landmarks/raw")

LISTED = 10
"""How many refused files are printed when there are too many."""


def select(
    tree: Tree, pictures: Sequence[Inspected | str], settings: Photographs
) -> tuple[list[Packed], list[Refused]]:
    """Return the accepted photographs, train before test, and the refused files, sorted by path.

    ``pictures`` holds for each of the tree's candidates its picture, or the reason why it is refused. Raises InputError
    if too many are refused, or if a class has no photograph left in train or in test.
    """
    inspected = list(zip(tree.candidates, pictures, strict=True))
    bad = sorted(
        tree.refused + [Refused(tree.name(one.file), reason) for one, reason in inspected if isinstance(reason, str)]
    )
    check_share(tree, bad, settings.max_refused)
    readable = [(one, picture) for one, picture in inspected if isinstance(picture, Inspected)]
    kept, copies = without_copies(split(readable, tree.classes, settings))
    refused = sorted(bad + [Refused(tree.name(packed.file), reason) for packed, reason in copies])
    check_classes(tree, kept, refused)
    return kept, refused


def split(
    readable: Sequence[tuple[Candidate, Inspected]], classes: Sequence[str], settings: Photographs
) -> list[Packed]:
    """Return the photographs, train before test.

    If the source has no split, a fraction of each class is the test set.
    """
    labels = np.array([candidate.label for candidate, _ in readable], np.int64)
    chosen = stratified(labels, settings.test_fraction, settings.seed)
    packed = []
    for (candidate, picture), is_test in zip(readable, chosen, strict=True):
        part = candidate.split or SPLITS[int(is_test)]
        path = f"{classes[candidate.label]}/{candidate.file.name}"
        photograph = Photograph(part, path, candidate.label, picture.width, picture.height)
        packed.append(Packed(photograph, candidate.file, picture.bytes, picture.sha256))
    return sorted(packed, key=lambda one: SPLITS.index(one.photograph.split))


def without_copies(packed: Sequence[Packed]) -> tuple[list[Packed], list[tuple[Packed, str]]]:
    """Return the photographs to keep, and the training photographs to leave out, with the reason."""
    same: dict[str, list[Photograph]] = defaultdict(list)
    for one in packed:
        same[one.sha256].append(one.photograph)
    kept, copies = [], []
    for one in packed:
        reason = _contradiction(one.photograph, same[one.sha256])
        if reason is None:
            kept.append(one)
        else:
            copies.append((one, reason))
    return kept, copies


def _contradiction(photograph: Photograph, same: Sequence[Photograph]) -> str | None:
    if photograph.split == "train":
        for other in same:
            if other.split == "test":
                return f"same picture as test/{other.path}"
        for other in same:
            if other.label != photograph.label:
                return f"same picture as train/{other.path}, which has another class"
    return None


def check_share(tree: Tree, bad: Sequence[Refused], allowed: float) -> None:
    """Raise InputError if more than the fraction ``allowed`` of all files is ``bad``, after printing the first of them."""
    total = len(tree.candidates) + len(tree.refused)
    if len(bad) > allowed * total:
        for path, reason in bad[:LISTED]:
            print(f"{path}: {reason}", file=sys.stderr)
        raise InputError(
            f"{tree.root}: found {len(bad)} of {total} files that are not photographs, the first is {bad[0].path} ({bad[0].reason}), expected "
            f"at most the fraction data.landmarks.photographs.max_refused = {allowed} (the first {min(len(bad), LISTED)} are listed above; "
            f"with a larger fraction, {RAW / 'refused.csv'} lists all of them)"
        )


def check_classes(tree: Tree, kept: Sequence[Packed], refused: Sequence[Refused]) -> None:
    """Raise InputError if a class has no photograph in train or in test."""
    there = {(packed.photograph.split, packed.photograph.label) for packed in kept}
    for part in SPLITS:
        for label, name in enumerate(tree.classes):
            if (part, label) not in there:
                own = [one for one in refused if Path(one.path).parent.name == name]
                why = f" ({len(own)} of its files are refused, first {own[0].path}: {own[0].reason})" if own else ""
                raise InputError(
                    f"{tree.root}: found no photograph of {name} for {part}{why}, expected at least 1 in every class"
                )


def main() -> None:
    settings = config.load("data.landmarks", Data)
    with open_source("landmarks", settings, sample.write, official.fetch) as source:
        tree = folders.read(source.folder)
        places = read_places(tree.root / "places.csv", tree.classes)
        max_pixels = settings.photographs.max_megapixels * 1_000_000
        pictures = inspect_all([candidate.file for candidate in tree.candidates], max_pixels)
        kept, refused = select(tree, pictures, settings.photographs)
        with files.new_folder(RAW) as folder:
            photographs.write(folder, kept, places, refused, source.name)
    counts = [sum(packed.photograph.split == part for packed in kept) for part in SPLITS]
    print(
        f"landmarks from {source.name}: {counts[0]} training and {counts[1]} test photographs of {len(tree.classes)} classes in {RAW}, "
        f"{len(refused)} files refused (refused.csv there has the reasons); next: dvc repro featurize@landmarks"
    )


if __name__ == "__main__":
    run(main)
