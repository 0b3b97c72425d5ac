"""mnist's parameters: names, ranges, choices, units. Their values are in params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from stages.common.config import VERSION, Section
from stages.common.sources.source import SourceSettings
from stages.common.training_settings import TrainingSettings

Width = Annotated[int, Field(ge=1, le=8192)]


class Data(SourceSettings):
    """The group `data.mnist`: read by prepare and featurize."""

    valid_fraction: float = Field(
        gt=0, lt=0.5, description="share of each digit's training images set aside for validation"
    )
    seed: int = Field(ge=0, lt=2**31, description="of that choice")


class Mlp(Section):
    """A fully connected network."""

    hidden: list[Width] = Field(max_length=8, description="units of each hidden layer")
    dropout: float = Field(ge=0, lt=1, description="after each hidden layer")
    batch_norm: bool


class Cnn(Section):
    """A convolutional network with batch norm, of three stages, each twice as wide as the one before."""

    width: int = Field(ge=1, le=512, description="channels of the first stage")
    depth: int = Field(ge=1, le=8, description="convolutions of each stage")
    dropout: float = Field(ge=0, lt=1, description="before the last layer")


class Augmentation(Section):
    """The furthest that a training image is moved; each amount is drawn evenly between it and its opposite."""

    rotation: float = Field(ge=0, le=180, description="degrees")
    scale: float = Field(ge=0, lt=1, description="as the logarithm of the factor, for height and width apart")
    shear: float = Field(ge=0, le=45, description="degrees")
    shift: float = Field(ge=0, le=14, description="pixels")


class Train(TrainingSettings):
    """The group `mnist`: read by train."""

    network: Literal["mlp", "cnn"]
    mlp: Mlp
    cnn: Cnn
    augment: bool = Field(description="move training images at random, within `augmentation`")
    augmentation: Augmentation


class Deploy(Section):
    """The group `deploy.mnist`: read by deploy."""

    version: str | None = Field(pattern=VERSION, description="a released one; null: the one that export made")
    batch: int = Field(ge=1, le=10_000, description="images a request, when the whole test set is sent")
    single: int = Field(ge=1, le=10_000, description="requests of one image, for the latency")
