"""How much each of several varied parameters decided about a score."""

import json
import math
from typing import Any, NamedTuple

import numpy as np


class Axis(NamedTuple):
    """A parameter that differs among variants, with its value for each."""

    name: str
    values: list[Any]

    @property
    def numeric(self) -> bool:
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)

    @property
    def logarithmic(self) -> bool:
        return self.numeric and min(self.values) > 0 and max(self.values) / min(self.values) >= 20

    def texts(self) -> list[str]:
        return [value if isinstance(value, str) else json.dumps(value) for value in self.values]

    def positions(self) -> list[float]:
        """Return each value's position on the axis, from 0 to 1; 0.5 if all are equal. Texts have equal distances."""
        if self.numeric:
            numbers = [math.log(value) if self.logarithmic else float(value) for value in self.values]
        else:
            order = sorted(set(self.texts()))
            numbers = [float(order.index(text)) for text in self.texts()]
        low, high = min(numbers), max(numbers)
        if low == high:
            return [0.5] * len(numbers)
        return [round((number - low) / (high - low), 4) for number in numbers]


def importance(axes: list[Axis], scores: list[float]) -> list[float]:
    """Return the importance of each parameter in a random forest. The sum is 1, or 0 if all scores are equal."""
    from sklearn.ensemble import RandomForestRegressor  # takes a second to import, and only many variants need it

    forest = RandomForestRegressor(200, random_state=0)
    forest.fit(np.array([axis.positions() for axis in axes]).T, scores)
    return [float(weight) for weight in forest.feature_importances_]
