"""Send the forecasts of bikes to Kaggle, which answers with their score on the test hours.

    python -m stages.experiments.submit bikes-default      the recipe's first seed
    python -m stages.experiments.submit                    the working tree

The recipe must have run on the real data. Kaggle's credentials are those of its own tools: KAGGLE_API_TOKEN,
KAGGLE_USERNAME and KAGGLE_KEY, or ~/.kaggle/kaggle.json. You must have joined the competition there. The competition has
ended, so Kaggle scores a submission but doesn't rank it.
"""

import argparse
import io
import time
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stages.common.errors import InputError
from stages.common.program import requires, run
from stages.experiments.records.revisions import Revision

COMPETITION = "bike-sharing-demand"
SUBMISSION = "reports/bikes/submission.csv"
WAIT, PAUSE = 120.0, 3.0
"""Seconds in which Kaggle usually has a score, and between two questions for it."""


def content(name: str | None) -> bytes:
    """Return the submission of an experiment, or of the working tree. Raises InputError without one for the real data."""
    revision = Revision(name)
    found, data = revision.read(SUBMISSION), revision.metrics("bikes").get("data")
    again = f"make recipe NAME={name or 'bikes-default'} SET=data.bikes.source=official"
    if found is None:
        raise InputError(f"{revision.name} has no {SUBMISSION}: run `{again}`, or `dvc pull` if it ran elsewhere")
    if data == "sample":
        raise InputError(f"{revision.name} forecasts the sample, whose hours Kaggle doesn't know: run `{again}`")
    return found


def client() -> Any:
    """Return Kaggle's client with the user's credentials. Raises InputError without any."""
    with requires("kaggle", "submitting to Kaggle"), redirect_stdout(io.StringIO()):  # it prints a page of advice
        from kaggle import api

        try:
            api.authenticate()
        except SystemExit:
            remedy = "set KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY (https://www.kaggle.com/settings)"
            raise InputError(f"no credentials for Kaggle: {remedy}") from None
    return api


def scored(kaggle: Any, reference: int) -> Any:
    """Return Kaggle's record of a submission as soon as it is scored, or as it is after `WAIT` seconds."""
    end = time.monotonic() + WAIT
    while True:
        found = next((one for one in kaggle.competition_submissions(COMPETITION) or [] if one.ref == reference), None)
        if (found and found.status.name != "PENDING") or time.monotonic() > end:
            return found
        time.sleep(PAUSE)


def main(name: str | None) -> None:
    body, kaggle = content(name), client()
    try:
        with TemporaryDirectory() as folder:
            path = Path(folder, "submission.csv")
            path.write_bytes(body)
            sent = kaggle.competition_submit(str(path), name or "working tree", COMPETITION, quiet=True)
        print(f"{name or 'the working tree'}: {sent.message}", flush=True)
        record = scored(kaggle, sent.ref) if sent.ref else None
    except Exception as error:  # the client raises those of its HTTP library, too
        line = " ".join(str(error).split())[:300]
        raise InputError(
            f"Kaggle refused the submission ({line}): check the credentials and the network, and join the competition at "
            f"https://www.kaggle.com/c/{COMPETITION}"
        ) from None
    if not sent.ref or (record and record.status.name == "ERROR"):
        raise InputError(
            f"Kaggle could not score the submission: {record.error_description if record else sent.message}"
        )
    scores = {"public": record.public_score, "private": record.private_score} if record else {}
    said = ", ".join(f"{kind} score {score}" for kind, score in scores.items() if score)
    print(said or f"no score yet: see https://www.kaggle.com/c/{COMPETITION}/submissions")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="an experiment of bikes (default: the working tree)")


if __name__ == "__main__":
    run(main, arguments)
