"""Pack the final forecaster so that it runs without this repository, and check that its predictions match evaluate's.

`model.tar.gz` holds AutoGluon's predictors (only the parts needed to predict), the table of known weather and the ranges
of the training data. Its `code/` holds the inference functions and the modules that they and the predictors' pickles
import. The model card, `model_card.md`, is included as README.md.
"""

import json
from pathlib import Path

import pandas as pd

from stages.bikes import features, inference, learners, model
from stages.bikes.config import Data, Train
from stages.bikes.hours import columns, holidays, plausible, request
from stages.bikes.learning.normalised import normalise
from stages.common import config, files, temporary
from stages.common.errors import InputError
from stages.common.models import bundle, card
from stages.common.program import run

FEATURES = Path("data/bikes/features")
EVALUATION = Path("reports/bikes/evaluation")
EXPORT = Path("models/bikes/export")

MODULES = (columns, holidays, plausible, request, features, learners, model)
"""What the inference functions and the predictors' pickles import, by these names."""

TOLERANCE = 1e-6
"""Largest allowed relative difference between an answer and evaluate's."""


def prove(folder: Path, expected: pd.DataFrame, test: pd.DataFrame) -> float:
    """Return the largest relative difference of ``folder``'s answers from ``expected``. Raises InputError if it is too large."""
    answers = inference.predict_fn(test, inference.model_fn(str(folder)))
    difference = float(bundle.relative_difference(answers["count"].to_numpy(), expected["predicted"].to_numpy()).max())
    if not difference <= TOLERANCE:
        found = f"answers differ from evaluate's by up to {difference:.2g} of their value"
        remedy = "run `dvc repro export@bikes` so that all results come from one model"
        raise InputError(f"{EXPORT}: {found}, expected at most {TOLERANCE:g}: {remedy}")
    return difference


def write_card(path: Path, hours: pd.DataFrame, ranges: dict[str, list[float]]) -> None:
    parts = {"training": "train", "validation": "valid", "test": "test"}
    data = config.load("data.bikes", Data)
    card.write(
        path,
        Path(__file__).with_name("card.md"),
        "bikes",
        {"data.bikes": data, "bikes": config.trained("bikes", Train, model.TRAINED / model.SETTINGS)},
        {name: int((hours["part"] == part).sum()) for name, part in parts.items()},
        data=data,
        mistakes=[],
        tolerance=TOLERANCE,
        room=model.ROOM,
        columns=columns.COLUMNS,
        ranges=ranges,
        period=[f"{hours.loc[hours['part'] != 'test', 'datetime'].agg(end):%Y-%m-%d}" for end in ("min", "max")],
    )


def main() -> None:
    forecaster = model.load(files.require(model.TRAINED, "train@bikes"))
    expected = pd.read_csv(files.require(EVALUATION, "evaluate@bikes") / "test.csv")
    hours = pd.read_parquet(FEATURES / "hours.parquet")
    about = files.read_json(FEATURES / "about.json")
    with files.new_folder(EXPORT) as folder, temporary.folder("export") as packed:
        with model.lean():  # only what `model.load` needs to predict with the final models
            for part, predictor in forecaster.predictors.items():
                predictor.clone_for_deployment(str(packed / "forecaster" / part), model=forecaster.final[part])
        normalise(packed / "forecaster")
        trained = files.read_json(model.TRAINED / "forecaster.json") | {"validated": forecaster.final}
        files.write_json(packed / "forecaster/forecaster.json", trained)
        hours[columns.NAMES].to_parquet(packed / "known.parquet")
        ranges = plausible.ranges(hours[hours["part"] != "test"])
        (packed / "features.json").write_text(json.dumps({"features": about["features"], "ranges": ranges}))
        test = hours.loc[hours["part"] == "test", columns.NAMES].reset_index(drop=True)
        difference = prove(packed, expected, test)
        modules = {f"code/{module.__name__.replace('.', '/')}.py": Path(str(module.__file__)) for module in MODULES}
        modules["code/inference.py"] = Path(inference.__file__)
        modules["code/stages/bikes/sequence.py"] = model.SEQUENCE
        members = {name: packed / name for name in ("forecaster", "known.parquet", "features.json")}
        write_card(folder / "model_card.md", hours, ranges)
        members["README.md"] = folder / "model_card.md"
        bundle.pack(folder / "model.tar.gz", members | modules)
    size = (EXPORT / "model.tar.gz").stat().st_size / 1e6
    print(f"model.tar.gz, {size:.1f} MB: all {len(expected)} test hours match evaluate's within {difference:.2g}")


if __name__ == "__main__":
    run(main)
