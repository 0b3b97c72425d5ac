"""landmarks' parameters: names, ranges, choices, units. Their values are in params.yaml."""

from typing import Any, Literal

from pydantic import Field

from stages.common.config import VERSION, Section
from stages.common.sources.source import SourceSettings
from stages.common.training_settings import TrainingSettings


class Photographs(Section):
    """How files are taken as they come; read by prepare."""

    max_megapixels: int = Field(ge=1, le=1000, description="a larger picture is refused before it is decoded")
    max_refused: float = Field(ge=0, le=1, description="share of files that may be refused before prepare gives up")
    test_fraction: float = Field(
        gt=0, lt=0.9, description="share of each class for the test, where the source has no test folder"
    )
    seed: int = Field(ge=0, lt=2**31, description="of that choice")


class Data(SourceSettings):
    """The group `data.landmarks`: read by prepare and featurize."""

    photographs: Photographs
    size: int = Field(ge=16, le=1024, description="pixels of the shorter side, as stored")
    shard: int = Field(ge=1, le=4096, description="MiB of pixels in a shard, about: what one process packs at a time")
    valid_fraction: float = Field(gt=0, lt=0.5, description="share of each class's training photographs for validation")
    seed: int = Field(ge=0, lt=2**31, description="of that choice")


class Scratch(Section):
    """The published network: VGG with batch norm."""

    image_size: int = Field(ge=32, le=1024, description="pixels of a side, into the network")
    width: float = Field(gt=0, le=4, description="1.0: as published; factor on the width of each layer")
    dropout: float = Field(ge=0, lt=1, description="after both hidden layers")


class Residual(Section):
    """A small residual network, for training from scratch."""

    image_size: int = Field(ge=16, le=1024, description="pixels of a side, into the network")
    width: int = Field(ge=1, le=512, description="channels of the first stage; each stage has twice as many")
    depth: int = Field(ge=1, le=16, description="blocks in each of the four stages")
    dropout: float = Field(ge=0, lt=1, description="before the last layer")


class Transfer(Section):
    """A network of torchvision or timm, trained elsewhere, with a last layer of one's own."""

    image_size: int = Field(ge=16, le=1024, description="pixels of a side, into the network")
    backbone: str = Field(min_length=1, description="a network of torchvision, else of timm, by its name there")
    weights: str = Field(
        min_length=1,
        description="package: those that a package of requirements.txt holds; torchvision, timm: downloaded; none; or a path",
    )
    layers: list[str] = Field(
        max_length=20, description="whose averaged maps are features besides those of the last one"
    )
    fine_tune: str = Field(min_length=1, description="none: frozen; all; or the layer from which on it is trained")
    rate: float = Field(gt=0, le=1, description="the backbone's learning rate, as a factor on the last layer's")
    views: int = Field(ge=1, le=1000, description="augmented views of each photograph, where the backbone is frozen")
    hidden: int | None = Field(ge=1, le=65536, description="units of a hidden layer before the last one; null: none")
    dropout: float = Field(ge=0, lt=1, description="before the last layer")


class Ensemble(Section):
    """The mean of several networks' probabilities."""

    members: list[dict[str, Any]] = Field(max_length=20, description="what each changes in the group `landmarks`")


class Augmentation(Section):
    """What a training photograph goes through: a square at a random place, and changes that are drawn for each."""

    least: float = Field(
        gt=0, le=1, description="of the shorter side: the smallest square's side; the largest is `crop`"
    )
    flip: bool = Field(description="left to right, every second one")
    brightness: float = Field(
        ge=0, lt=1, description="added to all pixels, of which 1 is white: within plus and minus it"
    )
    contrast: float = Field(ge=0, lt=1, description="factor on the distance from the mean: 1 plus or minus it")
    saturation: float = Field(ge=0, lt=1, description="factor on the distance from grey: 1 plus or minus it")
    erase: float = Field(ge=0, lt=1, description="side of a square that is greyed, as a share of the image's side")


class Train(TrainingSettings):
    """The group `landmarks`: read by train. Only the table of the chosen network counts."""

    network: Literal["residual", "scratch", "transfer", "ensemble"]
    residual: Residual
    scratch: Scratch
    transfer: Transfer
    ensemble: Ensemble
    crop: float = Field(gt=0, le=1, description="of the shorter side: the square in the middle that is looked at")
    views: Literal["one", "flip"] = Field(description="predict from the square alone, or from it and its mirror image")
    augmentation: Augmentation
    compile: bool = Field(description="torch.compile: needs a C++ compiler, pays for long trainings")

    @property
    def image_size(self) -> int:
        """Pixels of a side, into the chosen network (of an ensemble's members, each has its own)."""
        sizes = {"residual": self.residual.image_size, "scratch": self.scratch.image_size}
        return sizes.get(self.network, self.transfer.image_size)


class Deploy(Section):
    """The group `deploy.landmarks`: read by deploy."""

    version: str | None = Field(pattern=VERSION, description="a released one; null: the one that export made")
    batch: int = Field(ge=1, le=1000, description="images a request, when the whole test set is sent once more")
