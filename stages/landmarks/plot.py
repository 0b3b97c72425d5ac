"""Plot the data, the training and the results of landmarks. `sheets.py` draws the plots that show photographs."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.common import files
from stages.common.program import run
from stages.common.results import classification, figures, reporting
from stages.common.results.figures import readable
from stages.common.vision.classifiers import Member
from stages.landmarks import model
from stages.landmarks.learning.views import Views
from stages.landmarks.model import TRAINED
from stages.landmarks.pictures import sheets
from stages.landmarks.store import Store

FEATURES = Path("data/landmarks/features")
EVALUATION = Path("reports/landmarks/evaluation")
PLOTS = Path("reports/landmarks/plots")


def classes(counts: NDArray[np.intp], names: list[str]) -> Figure:
    """Plot precision and recall of each class, the best recall on top."""
    rows = sorted(classification.by_class(counts, names), key=lambda row: row["recall"] or 0)
    figure, axis = plt.subplots(figsize=(8, min(1.8 + 0.36 * len(rows), 300)))
    places = np.arange(len(rows))
    meanings = {
        "recall": "recall: fraction of the class's photographs that are predicted correctly",
        "precision": "precision: fraction of the photographs predicted as the class that belong to it",
    }
    for (name, meaning), shift, colour in zip(meanings.items(), (0.2, -0.2), ("tab:blue", "tab:orange"), strict=True):
        bars = axis.barh(places + shift, [100 * (row[name] or 0) for row in rows], 0.38, color=colour, label=meaning)
        shares = ["never predicted" if row[name] == "" else f"{row[name]:.0%}" for row in rows]
        axis.bar_label(bars, shares, padding=2, fontsize="x-small")
    axis.set_yticks(places, [f"{readable(row['class'])} ({row['images']})" for row in rows], fontsize="small")
    axis.set(xlabel="fraction [%]", xlim=(0, 107), ylabel="class (test photographs)", ylim=(-0.6, len(rows) - 0.4))
    figure.suptitle("landmarks: recall and precision by class, on the test photographs")
    figure.legend(loc="outside lower center")
    return figure


def main() -> None:
    about = files.read_json(files.require(TRAINED, "train@landmarks") / "network.json")
    probabilities = np.load(files.require(EVALUATION, "evaluate@landmarks") / "probabilities.npy")
    train, valid, test = (Store(FEATURES, part) for part in ("train", "valid", "test"))
    names, labels = [place["name"] for place in about["classes"]], test.labels.numpy()
    counts = classification.confusion_matrix(labels, probabilities.argmax(1), len(names))
    networks = about["members"]
    title = figures.network_title(networks, 0)
    first = model.load(measured=True).members[0]
    assert isinstance(first, Member)
    eyes = Views(first, about["size"], **networks[0]["views"], train=train, valid=valid)
    pictures = {
        "photographs": sheets.photographs(title, eyes, networks[0]["settings"], names),
        **figures.histories("landmarks", TRAINED, networks),
        "confusion_matrix": figures.confusion("landmarks", "photographs", counts, names),
        "confusions": sheets.confusions(probabilities, names, test),
        "reliability": figures.reliability("landmarks", "photographs", probabilities, labels),
        "classes": classes(counts, names),
        "evidence": sheets.evidence(title, eyes, probabilities, names, test),
    }
    with files.new_folder(PLOTS) as folder:
        for name, figure in pictures.items():
            reporting.save(figure, folder / f"{name}.png")


if __name__ == "__main__":
    run(main)
