"""The parameters that training has in every project. No torch here: `check` reads them within a moment."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from stages.common.config import Section


class Adam(Section):
    """Adam (https://arxiv.org/abs/1412.6980), and AdamW, which keeps the decay apart (https://arxiv.org/abs/1711.05101)."""

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
    """From a 25th of the learning rate up to it and, by a cosine, down to nothing (https://arxiv.org/abs/1708.07120)."""

    warmup: float = Field(gt=0, lt=1, description="share of all steps in which the learning rate rises")


class TrainingSettings(Section):
    """One training run. Only the table of the chosen optimizer and of the chosen schedule counts."""

    seed: int = Field(ge=0, lt=2**31)
    epochs: int = Field(ge=1, le=10_000)
    batch_size: int = Field(ge=2, le=100_000, description="pictures a step; batch norm needs two")
    optimizer: Literal["adam", "adamw", "sgd"]
    adam: Adam
    adamw: Adam
    sgd: SGD
    schedule: Literal["constant", "plateau", "one_cycle"]
    plateau: Plateau
    one_cycle: OneCycle
    label_smoothing: float = Field(ge=0, lt=1)
    ema_decay: float = Field(
        ge=0, lt=1, description="of a moving average of the weights, which is what is scored and kept; 0: none"
    )
    keep: Literal["last", "best"] = Field(description="the weights of the last epoch, or of the best validation loss")
    min_improvement: float = Field(
        ge=0, lt=1, description="share by which a validation loss must improve to be the best"
    )
    patience: int | None = Field(
        ge=1, description="epochs without a better validation loss after which it ends; null: all"
    )
    log_every: int = Field(ge=1, description="steps between two rows of the loss curve")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        description="of the products, weights stay float32; auto: bfloat16 where the hardware multiplies it"
    )
    device: Literal["auto", "cpu", "cuda"]
    threads: int | None = Field(ge=1, le=1024, description="of the CPU; null: one a core")
