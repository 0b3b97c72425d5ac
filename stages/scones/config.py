"""scones' parameters: names, ranges, choices, units. Their values are in params.yaml."""

import difflib
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from stages.common.config import Section
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
    max_refused: float = Field(ge=0, le=1, description="share of pictures that may be refused before prepare gives up")
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


class Challenger(Section):
    """A second model behind the same endpoint."""

    archive: str = Field(min_length=1, description="its model.tar.gz")
    weight: float = Field(gt=0, description="its share of the requests is its weight in the sum of both")


class Deploy(Section):
    """The group `deploy.scones`: read by deploy."""

    stack: str = Field(pattern="^[a-z][a-z0-9-]{0,19}$", description="the CloudFormation stack; names begin with it")
    region: str | None = Field(min_length=1, description="null: the one that the usual chain of settings gives")
    threshold: float = Field(gt=0, le=1, description="an execution with a lower confidence fails")
    executions: int = Field(ge=1, le=10_000, description="test cases to execute")
    concurrency: int = Field(ge=1, le=50, description="executions at a time")
    seed: int = Field(ge=0, lt=2**31, description="of the test cases' choice")
    instance_type: str = Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$", description="of the endpoint")
    instance_count: int = Field(ge=1, le=100, description="of each variant")
    pytorch: str = Field(pattern=r"^\d+\.\d+\.\d+$", description="version of SageMaker's inference image")
    weight: float = Field(gt=0, description="of the exported model, where there is a challenger")
    challenger: Challenger | None
    endpoint_timeout: int = Field(ge=1, le=60, description="seconds that the workflow waits for an answer")
    low_confidence_share: float = Field(ge=0, le=1, description="alarm above this share of an hour's pictures")
    capture_days: int = Field(ge=1, le=3650, description="for how long captured requests are kept")
    email: str | None = Field(min_length=3, description="who is told of failures and alarms; null: nobody")
