"""The facts about landmarks that the server, its page and the comparisons show, and the check of its parameters."""

from stages.common.facts import PICTURES, About
from stages.common.training import ensemble
from stages.common.vision import checked
from stages.landmarks import config

ABOUT = About(
    title="Landmarks",
    tab="Landmarks",
    rank=1,
    sample="drawings made by this project's code, not photographs: the model is poor on real photographs",
    official="the published landmark photographs",
    accepts=PICTURES,
    several=True,
    evidence=True,
    packages=("torch", "torch._dynamo", "torchvision", "timm"),
    tables={
        "history": "models/landmarks/trained/0/epochs.csv",
        "confusion": "reports/landmarks/evaluation/confusion_matrix.csv",
    },
)


def check(data: config.Data, train: config.Train, source: str) -> None:
    """Raise InputError for an ensemble's member, a backbone, layers or weights that train would refuse."""
    for member in ensemble.members("landmarks", train):
        table = member.chosen.model_dump()
        checked.network("landmarks", member.network, table, member.epochs)
