"""scones' parameters: names, ranges, choices, units. Their values are in params.yaml."""

import difflib
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from stages.common.sources import SourceSettings

# CIFAR-100's hundred, in the order of their numbers: https://www.cs.toronto.edu/~kriz/cifar.html
FINE_LABELS = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
    caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
    forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
    mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
    possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
    sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
    willow_tree wolf woman worm
""".split()  # noqa: SIM905 (as a list it would be formatted into a hundred lines)


def _known(name: str) -> str:
    if name not in FINE_LABELS:
        closest = difflib.get_close_matches(name, FINE_LABELS, n=8, cutoff=0)
        raise ValueError(f"one of CIFAR-100's {len(FINE_LABELS)} fine labels, as {', '.join(closest)}")
    return name


class Data(SourceSettings):
    """The group `data.scones`: read by prepare and featurize."""

    classes: list[Annotated[str, AfterValidator(_known)]] = Field(
        min_length=2,
        description="fine labels of CIFAR-100; a picture's label is its class's place in this list, from 0",
    )
    max_refused: float = Field(
        ge=0, lt=1, description="share of the pictures that may be unreadable before prepare fails"
    )
    valid_fraction: float = Field(
        gt=0, lt=0.5, description="share of each class's training pictures set aside for validation"
    )
    seed: int = Field(ge=0, lt=2**31, description="of that choice")

    @field_validator("classes")
    @classmethod
    def each_once(cls, classes: list[str]) -> list[str]:
        if len(set(classes)) != len(classes):
            raise ValueError("each class once")
        return classes
