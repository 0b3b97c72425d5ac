"""Parameters of landmarks: names, ranges, choices, units. Their values are in params.yaml."""

from typing import Literal

from pydantic import Field

from stages.common import training_settings
from stages.common.config import VERSION, Section
from stages.common.sources.source import SourceSettings
from stages.common.training_settings import Ensemble, Known, TrainingSettings, Weights


class Photographs(Section):
    """How prepare checks and splits the source's files."""

    max_megapixels: int = Field(ge=1, le=1000, description="larger pictures are refused before decoding")
    max_refused: float = Field(ge=0, le=1, description="fraction of refused files above which prepare fails")
    max_near_copies: float = Field(
        ge=0,
        le=1,
        description="fraction of test and validation photographs that look like one of an earlier split, above which prepare fails",
    )
    test_fraction: float = Field(
        gt=0, lt=0.9, description="fraction of each class for the test set, if the source has no test folder"
    )
    seed: int = Field(ge=0, lt=2**31, description="seed for choosing the test set")


class Data(SourceSettings):
    """The group `data.landmarks`. prepare and featurize read it."""

    photographs: Photographs
    size: int = Field(ge=16, le=1024, description="pixels of the shorter side, as stored")
    shard: int = Field(ge=1, le=4096, description="approximate MiB of pixels in a shard, the unit of parallel work")
    valid_fraction: float = Field(gt=0, lt=0.5, description="fraction of each class's training set for validation")
    seed: int = Field(ge=0, lt=2**31, description="seed for choosing the validation photographs")


class Residual(training_settings.Residual):
    """A small residual network, which can be trained on smaller inputs than it predicts from.

    Objects fill more of a random square than of the photograph's middle. With smaller inputs in training they have about
    the same size in pixels, and training is faster (https://arxiv.org/abs/1906.06423).
    """

    train_scale: float = Field(
        ge=0.5, le=1, description="side of the training inputs, as a fraction of image_size; 1: the same"
    )


class Scratch(Section):
    """The published network: VGG with batch norm."""

    image_size: int = Field(ge=32, le=1024, description="side of the network's input in pixels")
    width: float = Field(gt=0, le=4, description="factor on the width of each layer; 1.0: as published")
    dropout: float = Field(ge=0, lt=1, description="after both hidden layers")
    weights: Weights


class Pretrained(training_settings.Transfer):
    """A pretrained network, of which several layers and, if it is frozen, several views can be used."""

    layers: list[str]
    views: int = Field(ge=1, le=1000, description="views of each photograph if the backbone is frozen")
    hidden: int | None = Field(ge=1, le=65536, description="units of a hidden layer before the last one; null: none")


class Transfer(Pretrained):
    """The head gets a photograph's features: those of the last layer, and averages of other layers' maps."""

    layers: list[str] = Field(
        max_length=20, description="layers whose averaged maps are features besides the last layer's"
    )


class Attention(Pretrained):
    """The head gets maps, and learns to which of their positions to attend."""

    layers: list[str] = Field(
        min_length=1,
        max_length=20,
        description="layers that give the maps; all are averaged to the size of the smallest",
    )
    heads: int = Field(ge=1, le=256, description="weighted means over the positions, each with its own weights")


class Augmentation(Section):
    """Random changes to training photographs: a square at a random position, and changes sampled for each photograph."""

    least: float = Field(
        gt=0, le=1, description="smallest square's side, as a fraction of the shorter side; the largest is `crop`"
    )
    flip: bool = Field(description="mirror each photograph with probability 0.5")
    brightness: float = Field(
        ge=0, lt=1, description="limit of the amount added to all pixels (1 is white), plus or minus"
    )
    contrast: float = Field(ge=0, lt=1, description="factor on the distance from the mean: 1 plus or minus it")
    saturation: float = Field(ge=0, lt=1, description="factor on the distance from grey: 1 plus or minus it")
    erase: float = Field(ge=0, lt=1, description="side of the greyed square, as a fraction of the image's side")


class Train(TrainingSettings):
    """The group `landmarks`. train reads it. Of the networks' groups, only the chosen network's is used."""

    network: Literal["residual", "scratch", "transfer", "attention", "ensemble"]
    residual: Residual
    scratch: Scratch
    transfer: Transfer
    attention: Attention
    ensemble: Ensemble
    crop: float = Field(gt=0, le=1, description="side of the central square, as a fraction of the shorter side")
    views: Literal["one", "flip"] = Field(description="predict from the square only, or from it and its mirror image")
    augmentation: Augmentation
    known: Known
    compile: bool = Field(description="torch.compile: needs a C++ compiler, worthwhile for long trainings")

    @property
    def chosen(self) -> Residual | Scratch | Pretrained:
        """The chosen network's own group. An ensemble has none, but each of its members."""
        found: Residual | Scratch | Pretrained = getattr(self, self.network)
        return found

    @property
    def train_side(self) -> int:
        """The side of the chosen network's training inputs in pixels."""
        return round(getattr(self.chosen, "train_scale", 1.0) * self.chosen.image_size)


class Deploy(Section):
    """The group `deploy.landmarks`. deploy reads it."""

    version: str | None = Field(pattern=VERSION, description="a released version; null: the current export")
    batch: int = Field(ge=1, le=1000, description="images per request when deploy sends the whole test set in batches")
