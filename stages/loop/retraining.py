"""Train a candidate with the labelled pictures of the stream in a clone, judge it, and put it into service.

If the candidate is refused, by the judgement or by a person, nothing changes.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from stages.common import config, files
from stages.common.errors import InputError
from stages.common.sources import label_table
from stages.engine.aws.clients import agree
from stages.experiments import release
from stages.experiments.records import recipes
from stages.experiments.records.recipes import Experiment
from stages.experiments.running import clones
from stages.loop import promotion
from stages.loop.judging import PROJECT, Verdict, judge
from stages.scones import layout, prepare
from stages.scones.config import Data, Loop
from stages.scones.feedback import labelled, monitor

TARGETS = ("export@scones", "plot@scones")


def missing(classes: Sequence[str], limits: Loop) -> list[str]:
    """Return a sentence for each kind of labelled pictures with too few pictures, or without pictures of every class.

    Pictures that prepare would refuse don't count. Of those to train with, only new ones count, which the current model was
    not trained with.
    """
    found = []
    side = config.load("data.scones", Data).side
    known = {entry.name for entry in layout.read_list(files.require(prepare.RAW, "prepare@scones"), "train", classes)}
    for held_out, least, what in ((False, limits.labelled, "train with"), (True, limits.judged, "judge with")):
        listed = labelled.read_list(labelled.FOLDER, classes, 0, held_out)
        usable, _ = prepare.read_pictures(layout.candidates(labelled.FOLDER, listed), side)
        entries = [one.entry for one in usable if f"{prepare.LABELLED}{one.entry.name}" not in known]
        none = [name for label, name in enumerate(classes) if label not in {entry.label for entry in entries}]
        if len(entries) < least or none:
            lacking = f", none of {', '.join(none)}" if none else ""
            found.append(f"{len(entries)} new labelled pictures to {what}{lacking}, expected at least {least}")
    return found


def retrain(limits: Loop, yes: bool) -> tuple[Verdict, str]:
    """Train, judge and promote. Return the verdict and the promoted version, "" if the candidate did not pass.

    Raise InputError if pictures are missing, something is not committed, the training or the promotion fails, or a person
    does not agree.
    """
    release.committed()
    classes = monitor.class_names()
    if lacking := missing(classes, limits):
        raise InputError(f"{labelled.FOLDER / label_table.TABLE}: found {'; '.join(lacking)}")
    version = promotion.following()
    promotion.check(version)
    experiment = Experiment(f"{PROJECT}-{version}", recipes.named("scones-default"), {})
    with clones.alone("loop") as folder:
        clones.freeze(folder)
        copy = clones.record(None, folder.absolute(), experiment, TARGETS)
        if copy is None:
            log = clones.log(folder, experiment)
            raise InputError(f"the training failed: {clones.reason(log)} (full log: {log})")
        verdict = judge(Path(), copy, classes)
        print(f"test pictures: {verdict.test}\nthe stream: {verdict.stream}")
        if verdict.failures:
            print(f"the candidate is refused: {'; '.join(verdict.failures)}")
            return verdict, ""
        question = f"The candidate has passed. This puts it into service and releases it as {PROJECT}@{version}."
        agree(question, yes or limits.promote == "automatic", "python -m stages.loop retrain")
        promotion.promote(copy, version)
        shutil.rmtree(copy)
    return verdict, version
