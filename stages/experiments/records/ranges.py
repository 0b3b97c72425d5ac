"""A sweep's parameter ranges, and the settings sampled from them."""

import math
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from stages.common.config import Section

DIGITS = 3
"""Significant digits of a sampled number: as many as a person would type."""


class Range(Section):
    """The range of one parameter's values. Exactly one of the four fields is set."""

    log: list[float] = Field(
        default=[], min_length=2, max_length=2, description="lowest and highest; the logarithm is uniform"
    )
    uniform: list[float] = Field(default=[], min_length=2, max_length=2, description="lowest and highest")
    integers: list[int] = Field(default=[], min_length=2, max_length=2, description="first and last, both included")
    choice: list[Any] = Field(default=[], min_length=2, description="one of these values")

    @field_validator("log", "uniform", "integers")
    @classmethod
    def ascending(cls, ends: list[float]) -> list[float]:
        if ends[0] >= ends[1]:
            raise ValueError("two ascending numbers")
        return ends

    @field_validator("log")
    @classmethod
    def positive(cls, ends: list[float]) -> list[float]:
        if ends[0] <= 0:
            raise ValueError("two numbers above 0")
        return ends

    @model_validator(mode="before")
    @classmethod
    def one(cls, content: Any) -> Any:
        if not isinstance(content, dict) or len(content) != 1 or not content.keys() <= cls.model_fields.keys():
            raise ValueError(f"one of {', '.join(cls.model_fields)}, with its values")
        return content

    def value(self, fraction: float) -> Any:
        """Return the value at ``fraction`` of the range, in [0, 1). Numbers are rounded to `DIGITS` and stay within the range."""
        if self.choice:
            return self.choice[int(fraction * len(self.choice))]
        if self.integers:
            first, last = self.integers
            return first + int(fraction * (last - first + 1))
        if self.log:
            low, high = map(math.log, self.log)
            return _rounded(math.exp(low + fraction * (high - low)), self.log)
        assert self.uniform
        low, high = self.uniform
        return _rounded(low + fraction * (high - low), self.uniform)


def _rounded(value: float, ends: list[float]) -> float:
    return min(max(float(f"{value:.{DIGITS}g}"), float(ends[0])), float(ends[1]))


class Sweep(Section):
    """Many trials of a recipe. The better ones are trained for longer."""

    ranges: dict[str, Range] = Field(min_length=1, description="by the parameters' dotted names")
    trials: int = Field(ge=2, le=100_000)
    epochs: list[int] = Field(
        min_length=1, description="epochs of each rung; about one trial in (next / this) continues to the next rung"
    )
    score: Literal["valid_loss", "valid_accuracy"] = Field(description="the score of the kept weights that decides")

    @field_validator("epochs")
    @classmethod
    def steps(cls, epochs: list[int]) -> list[int]:
        """Raise ValueError unless the epochs are a geometric series, which ASHA's rungs have to be."""
        factor = epochs[1] // epochs[0] if len(epochs) > 1 and epochs[0] > 0 else 2
        if epochs[0] < 1 or factor < 2 or epochs != [epochs[0] * factor**rung for rung in range(len(epochs))]:
            raise ValueError("each to be the previous one times the same whole number, as in [1, 3, 9]")
        return epochs

    @property
    def factor(self) -> int:
        """The ratio of a rung's epochs to those of the rung below. About one trial in ``factor`` continues."""
        return self.epochs[1] // self.epochs[0] if len(self.epochs) > 1 else 2

    @property
    def lower_is_better(self) -> bool:
        return self.score == "valid_loss"

    def settings(self, seed: int) -> list[dict[str, Any]]:
        """Return each trial's settings. They depend only on the seed and the trial's number, not on `trials`.

        They are points of a scrambled Halton sequence, which leaves smaller gaps than the same number of random points.
        """
        from scipy.stats import qmc  # takes a second to import, and only sweeps need it

        points = qmc.Halton(len(self.ranges), seed=seed).random(self.trials)
        return [
            {
                name: values.value(float(fraction))
                for (name, values), fraction in zip(self.ranges.items(), row, strict=True)
            }
            for row in points
        ]
