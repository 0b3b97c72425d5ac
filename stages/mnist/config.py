"""Parameters of mnist: names, ranges, choices, units. Their values are in params.yaml."""

from typing import Annotated, Any, Literal

from pydantic import Field

from stages.common.config import VERSION, Section
from stages.common.sources.source import SourceSettings
from stages.common.training_settings import Ensemble, TrainingSettings, Weights

Width = Annotated[int, Field(ge=1, le=8192)]


class Data(SourceSettings):
    """The group `data.mnist`. prepare and featurize read it."""

    valid_fraction: float = Field(
        gt=0, lt=0.5, description="fraction of each digit's training images held out for validation"
    )
    seed: int = Field(ge=0, lt=2**31, description="seed for choosing the validation images")


class Mlp(Section):
    """A fully connected network."""

    hidden: list[Width] = Field(max_length=8, description="units of each hidden layer")
    dropout: float = Field(ge=0, lt=1, description="after each hidden layer")
    batch_norm: bool


class Cnn(Section):
    """A convolutional network with batch norm. It has three stages, each twice as wide as the previous one."""

    width: int = Field(ge=1, le=512, description="channels of the first stage")
    depth: int = Field(ge=1, le=8, description="convolutions of each stage")
    kernel: Literal[3, 5, 7] = Field(description="side of each convolution's kernel in pixels")
    dropout: float = Field(ge=0, lt=1, description="before the last layer")


class Augmentation(Section):
    """Limits of the random changes to training images: amounts are uniform between minus and plus their limit."""

    rotation: float = Field(ge=0, le=180, description="degrees")
    scale: float = Field(ge=0, lt=1, description="logarithm of the factor, separate for height and width")
    shear: float = Field(ge=0, le=45, description="degrees")
    shift: float = Field(ge=0, le=14, description="pixels")


class Known(Section):
    """How a picture that shows no digit is recognised (`stages/mnist/learning/second.py`)."""

    strangers: int = Field(ge=10, le=100_000, description="images of no digit, made in code, to learn from")
    steps: int = Field(ge=10, le=1_000_000, description="batches of 256 images")
    accepted: float = Field(
        ge=0.5,
        lt=1,
        description="fraction of the validation images that count as known; others like them may be refused",
    )
    certain: float = Field(
        ge=0.5,
        lt=1,
        description="fraction of the validation images that would be certain enough; it limits digits found in pictures",
    )


class Train(TrainingSettings):
    """The group `mnist`. train reads it."""

    network: Literal["mlp", "cnn", "ensemble"]
    mlp: Mlp
    cnn: Cnn
    ensemble: Ensemble
    weights: Weights
    augment: bool = Field(description="change training images at random, within `augmentation`")
    augmentation: Augmentation
    known: Known

    @property
    def chosen(self) -> dict[str, Any]:
        """The parameters of the chosen network."""
        found: Section = getattr(self, self.network)
        return found.model_dump()


class Deploy(Section):
    """The group `deploy.mnist`. deploy reads it."""

    version: str | None = Field(pattern=VERSION, description="a released version; null: the current export")
    batch: int = Field(ge=1, le=10_000, description="images per request when deploy sends the whole test set")
    single: int = Field(ge=1, le=10_000, description="one-image requests for measuring latency")
