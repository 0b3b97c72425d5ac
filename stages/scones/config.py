"""scones' parameters: names, ranges, choices, units. Their values are in params.yaml."""

import difflib
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from stages.common import config
from stages.common.config import VERSION, Section
from stages.common.sources.source import SourceSettings
from stages.common.training_settings import TrainingSettings

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


class Residual(Section):
    """A small residual network, for training from scratch."""

    image_size: int = Field(ge=32, le=256, description="pixels of a side, into the network")
    width: int = Field(ge=1, le=512, description="channels of the first stage; each stage has twice as many")
    depth: int = Field(ge=1, le=16, description="blocks in each of the four stages")
    dropout: float = Field(ge=0, lt=1, description="before the last layer")


class Transfer(Section):
    """A network of torchvision or timm, trained elsewhere, with a last layer of one's own."""

    image_size: int = Field(ge=32, le=512, description="pixels of a side, into the network")
    backbone: str = Field(min_length=1, description="a network of torchvision, else of timm, by its name there")
    weights: str = Field(
        min_length=1,
        description="package: those that a package of requirements.txt holds; torchvision, timm: downloaded; none; or a path",
    )
    fine_tune: str = Field(min_length=1, description="none: frozen; all; or the layer from which on it is trained")
    rate: float = Field(gt=0, le=1, description="the backbone's learning rate, as a factor on the last layer's")
    dropout: float = Field(ge=0, lt=1, description="before the last layer")


class Augmentation(Section):
    """What a training picture goes through, by amounts that are drawn for each."""

    rotation: float = Field(ge=0, le=180, description="degrees, within plus and minus it")
    scale: float = Field(ge=0, le=1, description="log of the factor on its size, within plus and minus it")
    shift: float = Field(ge=0, le=16, description="pixels of 32, within plus and minus it, along each side")
    flip: bool = Field(description="left to right, every second one")
    brightness: float = Field(ge=0, lt=1, description="added to all pixels, of which 1 is white")
    contrast: float = Field(ge=0, lt=1, description="factor on the distance from the mean: 1 plus or minus it")
    saturation: float = Field(ge=0, lt=1, description="factor on the distance from grey: 1 plus or minus it")
    erase: float = Field(ge=0, lt=1, description="side of a square that is greyed, as a share of the image's side")


class Train(TrainingSettings):
    """The group `scones`: read by train. Only the table of the chosen network counts."""

    network: Literal["residual", "transfer"]
    residual: Residual
    transfer: Transfer
    views: Literal["one", "flip"] = Field(description="predict from the picture alone, or from its mirror image, too")
    augmentation: Augmentation

    @property
    def chosen(self) -> Residual | Transfer:
        """The table of the network that is named."""
        return self.residual if self.network == "residual" else self.transfer


class Challenger(Section):
    """A second model behind the same endpoint."""

    archive: str = Field(min_length=1, description="its model.tar.gz")
    weight: float = Field(gt=0, description="its share of the requests is its weight in the sum of both")


class Evaluate(Section):
    """The group `evaluate.scones`: read by evaluate and deploy."""

    threshold: float = Field(gt=0, le=1, description="an execution with a lower confidence fails")


class Deploy(Section):
    """The group `deploy.scones`: read by deploy."""

    version: str | None = Field(pattern=VERSION, description="a released one; null: the one that export made")
    stack: str = Field(pattern="^[a-z][a-z0-9-]{0,19}$", description="the CloudFormation stack; names begin with it")
    region: str | None = Field(min_length=1, description="null: the one that the usual chain of settings gives")
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


class WorkflowSettings(Deploy, Evaluate):
    """What deploy needs to know: `deploy.scones` with the threshold."""


def workflow_settings(parameters: dict[str, Any] | None = None) -> WorkflowSettings:
    """Read both groups from ``parameters``, by default those of params.yaml. Raises InputError."""
    groups = config.load("deploy.scones", Deploy, parameters), config.load("evaluate.scones", Evaluate, parameters)
    return WorkflowSettings(**{name: value for group in groups for name, value in group})
