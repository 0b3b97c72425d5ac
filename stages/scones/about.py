"""The facts about scones that the server, its page and the comparisons show, and the check of its parameters."""

from stages.common.facts import PICTURES, About
from stages.common.training import ensemble
from stages.common.vision import checked
from stages.scones import config

ABOUT = About(
    title="Delivery vehicles",
    tab="Vehicles",
    rank=4,
    sample="drawings made by this project's code, not photographs: the model is poor on real pictures",
    official="CIFAR-100's pictures",
    accepts=PICTURES,
    packages=("torch", "torch._dynamo"),
    tables={
        "history": "models/scones/trained/0/epochs.csv",
        "confusion": "reports/scones/evaluation/confusion_matrix.csv",
    },
)


def check(data: config.Data, train: config.Train, source: str) -> None:
    """Raise InputError for an ensemble's member, a backbone or weights that train would refuse."""
    for member in ensemble.members("scones", train):
        checked.network("scones", member.network, member.chosen.model_dump(), member.epochs, len(data.classes))
