"""A recurrent network that reads a whole day, as an additional model for AutoGluon's ensemble.

Trees see an hour and a few numbers about the hours around it. This network reads the 24 hours of the day in both
directions. So it can learn that rain in the morning moves trips to the afternoon.
"""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from stages.bikes.learners import Own

HOURS, PATTERNS = 24, 8

COLUMNS = [
    *("temp", "atemp", "humidity", "windspeed", "vapour_pressure", "rain_last_6h", "rain_next_3h", "missing_5h"),
    *("day_temp", "day_temp_anomaly", "temp_15d", "day_rain_hours", "daylight_rain_hours", "day_missing_hours"),
    *("off", "off_yesterday", "off_tomorrow", "major_holiday", "short_staffed", "quiet", "day", "year"),
]
"""The `full` features that the network reads unchanged."""


class Sequence(Own):
    """The mean of several bidirectional GRUs over the hours of a day. It takes the `full` features, rows of whole days.

    Parameters: ``copies`` (networks trained with different seeds), ``hidden`` units, ``dropout``, ``epochs``,
    ``days_per_batch``, ``learning_rate`` (peak of one cycle), ``weight_decay``, ``seed``.
    """

    ag_key = "BIKES_SEQUENCE"
    ag_name = "Sequence"
    seed_name = "seed"

    def _fit(self, X: pd.DataFrame, y: pd.Series, num_cpus: int = 1, **kwargs: Any) -> None:
        settings = self._get_model_params()
        self._learn_range(self.preprocess(X))
        inputs = _inputs(self.preprocess(X))
        self._mean, scale = inputs.mean(0), inputs.std(0)
        self._scale = np.where(scale > 1e-6, scale, 1.0)
        days = self._days(X)
        target = np.zeros((*days.present.shape,), np.float32)
        target[days.row, days.hour] = y.to_numpy(np.float32)
        torch.set_num_threads(num_cpus)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings["seed"])
            self.model = []
            for _ in range(settings["copies"]):
                network = Network(inputs.shape[1], settings["hidden"], settings["dropout"], float(y.mean()))
                _train(network, days, torch.from_numpy(target), settings)
                self.model.append(network)

    def _predict_proba(self, X: pd.DataFrame, **kwargs: Any) -> np.ndarray:
        days = self._days(X)
        with torch.inference_mode():
            outputs = [
                sum(network(*batch).double() for network in self.model) / len(self.model)
                for batch in zip(*(part.split(64) for part in days.inputs), strict=True)
            ]
        return np.asarray(torch.cat(outputs).numpy()[days.row, days.hour])

    def _days(self, X: pd.DataFrame) -> "_Days":
        X = self.preprocess(X)
        return _Days(X, ((_inputs(self._held(X)) - self._mean) / self._scale).clip(-5, 5).astype(np.float32))


class _Days:
    """Rows arranged as days of 24 hours. An hour without a row gets the values of the previous hour (or of the next one)."""

    def __init__(self, X: pd.DataFrame, values: np.ndarray) -> None:
        dates, self.row = np.unique(X["day"].to_numpy(), return_inverse=True)
        self.hour = X["hour"].to_numpy().astype(int)
        self.present = np.zeros((len(dates), HOURS), bool)
        self.present[self.row, self.hour] = True
        source = np.zeros((len(dates), HOURS), int)
        source[self.row, self.hour] = np.arange(len(X))
        # For each hour, the latest hour up to it that has a row. Hours before the first row use the first row.
        last = np.maximum.accumulate(np.where(self.present, np.arange(HOURS), -1), axis=1)
        filled = np.where(last >= 0, last, self.present.argmax(1)[:, None])
        rows = np.take_along_axis(source, filled, axis=1)
        hour = np.broadcast_to(np.arange(HOURS), rows.shape).copy()
        pattern = X["pattern"].to_numpy().astype(int)[rows]
        self.inputs = torch.from_numpy(values[rows]), torch.from_numpy(hour), torch.from_numpy(pattern)


def _inputs(X: pd.DataFrame) -> np.ndarray:
    """Return float64 (rows, inputs): the columns, flags for wet and misty weather, and three sine and cosine pairs for the year."""
    angle = 2 * np.pi * X["day_of_year"].to_numpy() / 365.25
    waves = [wave(k * angle) for k in (1, 2, 3) for wave in (np.sin, np.cos)]
    weather = X["weather"].to_numpy()
    return np.column_stack([X[COLUMNS].to_numpy(float), weather > 2, weather == 2, *waves])


class Network(nn.Module):
    """Maps days (N, 24, inputs) with their hours and patterns, both int64 (N, 24), to one number per hour (N, 24)."""

    def __init__(self, inputs: int, hidden: int, dropout: float, mean: float) -> None:
        super().__init__()
        self.arguments = inputs, hidden, dropout, mean
        self.hour = nn.Embedding(HOURS, 8)
        self.pattern = nn.Embedding(PATTERNS, 6)
        self.hour_of_pattern = nn.Embedding(HOURS * PATTERNS, 12)
        self.profile = nn.Embedding(HOURS * PATTERNS, 1)
        width = inputs + 8 + 6 + 12
        self.enter = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.recurrent = nn.GRU(hidden, hidden, batch_first=True, bidirectional=True)
        last = nn.Linear(48, 1)
        nn.init.constant_(last.bias, mean)
        self.leave = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * hidden + width, 48), nn.ReLU(), last)
        nn.init.normal_(self.hour_of_pattern.weight, std=0.1)
        nn.init.zeros_(self.profile.weight)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the weights as NumPy arrays. torch stores each tensor's memory address, so its bytes differ each time."""
        return _rebuilt, (self.arguments, {name: weight.numpy() for name, weight in self.state_dict().items()})

    def forward(self, values: Tensor, hour: Tensor, pattern: Tensor) -> Tensor:
        code = hour + HOURS * pattern
        known = torch.cat([values, self.hour(hour), self.pattern(pattern), self.hour_of_pattern(code)], -1)
        read, _ = self.recurrent(self.enter(known))
        riders: Tensor = self.leave(torch.cat([read, known], -1)) + self.profile(code)
        return riders.squeeze(-1)


def _rebuilt(arguments: tuple[int, int, float, float], weights: dict[str, np.ndarray]) -> Network:
    with torch.device("meta"):  # no values, because sampling them would change torch's random state
        network = Network(*arguments)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()}, assign=True)
    return network.eval()


def _train(network: Network, days: _Days, target: Tensor, settings: dict[str, Any]) -> None:
    """Minimise the mean squared error over the hours that have a row."""
    present = torch.from_numpy(days.present).float()
    size = settings["days_per_batch"]
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=settings["weight_decay"])
    steps = settings["epochs"] * -(-len(target) // size)
    # Not 0.2: with 5 steps the warm-up would have one step, and torch divides by its length minus one.
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings["learning_rate"], steps, pct_start=0.2001)
    network.train()
    for _ in range(settings["epochs"]):
        for chosen in torch.randperm(len(target)).split(size):
            predicted = network(*(part[chosen] for part in days.inputs))
            weight = present[chosen]
            loss = ((predicted - target[chosen]) ** 2 * weight).sum() / weight.sum()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    network.eval()
