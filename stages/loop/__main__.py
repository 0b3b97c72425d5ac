"""The closed loop of scones: watch a deployment, and train its model again when the pictures have changed.

python -m stages.loop watch      measure the last hours' requests, write the metrics to CloudWatch, collect pictures to label
python -m stages.loop retrain    train with the labelled pictures, judge the candidate, deploy and release it if it is better
python -m stages.loop play       both, on a stand-in for AWS, from a stream that changes to the better model in service

watch and retrain refer to the deployment of `deploy.scones`. A candidate goes into service after a person confirms it, or at
once with --yes or `loop.scones.promote: automatic`.
"""

import argparse
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from stages.check import parameters_model
from stages.common import config
from stages.common.errors import InputError
from stages.common.program import run
from stages.engine.aws.clients import account, plain_errors
from stages.scones import deploy
from stages.scones.config import Loop, workflow_settings

REPORT = Path("reports/loop")


@plain_errors()
def main(action: str, yes: bool = False, into: Path = REPORT) -> None:
    config.check("", parameters_model(), config.read())
    limits = config.load("loop.scones", Loop)
    ask = not yes and limits.promote == "ask"
    if action == "watch":
        watched(limits)
        return
    if ask and not sys.stdin.isatty():
        command = f"python -m stages.loop {action} --yes"
        raise InputError(f"no terminal to ask about the candidate: run `{command}`, or run it in a terminal")
    if action == "retrain":
        from stages.loop import promotion, retraining  # and with it DVC

        if deploy.target() == "local":
            expected = "expected aws, also for a stand-in that was kept"
            raise InputError(f"deploy.target = local: there is no deployment to update: {expected}")
        settings = workflow_settings()
        promotion.unalarmed(account(settings.region, "deploy.scones.region"), settings)
        _, version = retraining.retrain(limits, yes)
        if not version:
            raise InputError("the candidate is refused, see above: nothing was changed")
        take = f"`git merge scones-{version} && dvc pull`, then `git push`"
        print(f"scones@{version} is in service. To take it into this branch: {take}.")
        return
    from stages.loop import film, story

    story.write(film.play(limits, yes), limits, into)
    print(f"see {into}/loop.png and loop.json")


def watched(limits: Loop) -> None:
    from stages.loop import watch

    settings = workflow_settings()
    session = account(settings.region, "deploy.scones.region")
    seen = watch.look(session, settings, limits, datetime.now(UTC) - timedelta(hours=limits.hours))
    print(
        f"{seen.records} requests of the last {limits.hours} hours: drift {seen.drift:.2f}, {seen.low_confidence:.1%} unsure, "
        f"estimated accuracy {seen.accuracy:.1%}"
    )
    for sentence in seen.beyond(limits):
        print(sentence)
    if seen.beyond(limits):
        print(
            "A retraining is proposed: fill in the labels of data/scones/labelled/labels.csv, commit that folder, and run "
            "`python -m stages.loop retrain`"
        )


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["watch", "retrain", "play"])
    parser.add_argument("--yes", action="store_true", help="do not ask before a candidate goes into service")
    parser.add_argument("--into", type=Path, default=REPORT, help="play: folder of the picture (default: %(default)s)")


if __name__ == "__main__":
    run(main, arguments)
