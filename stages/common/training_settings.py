"""The training parameters that the torch projects share, and those of their common networks.

This module does not import torch, so that `check` stays fast.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from stages.common.config import Section

Weights = Annotated[str, Field(min_length=1, description="initial weights: none: random; or the path of a state_dict")]


class Adam(Section):
    """Adam (https://arxiv.org/abs/1412.6980) or AdamW with decoupled decay (https://arxiv.org/abs/1711.05101)."""

    learning_rate: float = Field(gt=0, le=1)
    weight_decay: float = Field(ge=0, le=1)


class SGD(Section):
    """Stochastic gradient descent with momentum."""

    learning_rate: float = Field(gt=0, le=10)
    momentum: float = Field(ge=0, lt=1)
    nesterov: bool = Field(description="look ahead along the momentum; needs momentum > 0")

    @field_validator("nesterov")
    @classmethod
    def with_momentum(cls, nesterov: bool, others: ValidationInfo) -> bool:
        if nesterov and others.data.get("momentum") == 0:
            raise ValueError("false with momentum 0")
        return nesterov

    weight_decay: float = Field(ge=0, le=1)


class Plateau(Section):
    """After `patience` epochs without a better validation loss the learning rate is multiplied by `factor`."""

    factor: float = Field(gt=0, lt=1)
    patience: int = Field(ge=0, description="epochs")


class OneCycle(Section):
    """A rise from 1/25 of the learning rate to all of it, then a cosine to 0 (https://arxiv.org/abs/1708.07120)."""

    warmup: float = Field(gt=0, lt=1, description="fraction of all steps in which the learning rate rises")


class Residual(Section):
    """A small residual network, for training from scratch."""

    image_size: int = Field(ge=16, le=1024, description="side of the network's input in pixels")
    width: int = Field(ge=1, le=512, description="channels of the first stage; each later stage has twice as many")
    depth: int = Field(ge=1, le=16, description="blocks in each of the four stages")
    dropout: float = Field(ge=0, lt=1, description="before the last layer")
    weights: Weights


class Transfer(Section):
    """A pretrained network of torchvision or timm with a new last layer."""

    image_size: int = Field(ge=16, le=1024, description="side of the network's input in pixels")
    backbone: str = Field(min_length=1, description="name of a network of torchvision or, if not there, of timm")
    weights: str = Field(
        min_length=1,
        description="package: from a package in requirements.txt; torchvision, timm: downloaded; none: random; or a path",
    )
    fine_tune: str = Field(min_length=1, description="none: frozen; all; or the first trained layer")
    rate: float = Field(gt=0, le=1, description="the backbone's learning rate, as a factor on the last layer's")
    dropout: float = Field(ge=0, lt=1, description="before the last layer")


class Ensemble(Section):
    """The mean of several networks' probabilities."""

    members: list[dict[str, Any]] = Field(max_length=20, description="each member's changes to the project's group")


class Known(Section):
    """How a picture of none of the classes is recognised (`stages/common/vision/known.py`)."""

    method: Literal["best", "neighbours", "subspace", "energy"] = Field(
        description="best: the one that tells the validation pictures best from textures, noise and shapes made in code"
    )
    accepted: float = Field(
        ge=0.5,
        lt=1,
        description="fraction of the validation pictures that count as known; others like them may be refused",
    )


class TrainingSettings(Section):
    """One training run. Only the tables of the chosen optimizer and schedule have an effect."""

    seed: int = Field(ge=0, lt=2**31)
    epochs: int = Field(ge=0, le=10_000, description="0: no training, with weights of one's own")
    batch_size: int = Field(ge=2, le=100_000, description="images per step; batch norm needs two")
    optimizer: Literal["adam", "adamw", "sgd"]
    adam: Adam
    adamw: Adam
    sgd: SGD
    schedule: Literal["constant", "plateau", "one_cycle"]
    plateau: Plateau
    one_cycle: OneCycle
    label_smoothing: float = Field(ge=0, lt=1)
    ema_decay: float = Field(
        ge=0, lt=1, description="decay of the moving average of the weights, which is scored and kept; 0: no average"
    )
    keep: Literal["last", "best"] = Field(description="the weights of the last epoch, or of the best validation loss")
    min_improvement: float = Field(
        ge=0, lt=1, description="fraction by which the validation loss must improve to count as better"
    )
    patience: int | None = Field(
        ge=1, description="epochs without a better validation loss before training ends; null: train all epochs"
    )
    log_every: int = Field(ge=1, description="steps between two rows of the loss curve")
    live: bool = Field(description="write each epoch's scores with DVCLive, for curves while training runs")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        description="of products; weights stay float32; auto: bfloat16 if the hardware multiplies it"
    )
    device: Literal["auto", "cpu", "cuda"]
    threads: int | None = Field(ge=1, le=1024, description="of the CPU; null: one per core")
