"""The facts about bikes that the server, its page and the comparisons show, and the check of its parameters."""

from stages.bikes import config
from stages.common.facts import About

ABOUT = About(
    title="Bike demand",
    tab="Bikes",
    rank=3,
    sample="simulated demand, made by this project's code: no real riders",
    official="the rentals of Washington's Capital Bikeshare, 2011 and 2012 (UCI's Bike Sharing Dataset)",
    accepts=("text/csv", "application/json"),
    packages=("autogluon.tabular", "pandas"),
    tables={"leaderboard": "reports/bikes/evaluation/leaderboard.csv"},
)


def check(data: config.Data, train: config.Train, source: str) -> None:
    """Raise InputError unless each model gets the features that it needs."""
    config.check_together(data.features, train)
