"""The calendar of the town: US federal holidays, and how people work on and around them."""

from functools import cache

import numpy as np
import pandas as pd
from pandas.tseries import holiday as us

from stages.bikes.hours.columns import YEARS

SATURDAY, SUNDAY, SHORT_STAFFED = 5, 6, 7

# Holidays on which hardly anybody works: the day itself and the working day on which it is observed.
_FIXED = {"New Year": (1, 1), "Independence Day": (7, 4), "Christmas": (12, 25)}
_MAJOR = (
    *(us.Holiday(name, month=month, day=day) for name, (month, day) in _FIXED.items()),
    *(us.Holiday(name, month=month, day=day, observance=us.nearest_workday) for name, (month, day) in _FIXED.items()),
    us.USMemorialDay,
    us.USLaborDay,
    us.USThanksgivingDay,
)
# Federal holidays on which many offices and schools stay open.
_MINOR = (
    us.USMartinLutherKingJr,
    us.USPresidentsDay,
    us.USColumbusDay,
    us.Holiday("Juneteenth", month=6, day=19, start_date="2021-06-18", observance=us.nearest_workday),
    us.Holiday("Veterans Day", month=11, day=11, observance=us.nearest_workday),
)
# A holiday of Washington on which commuters ride as usual.
_WITHOUT_EFFECT = (us.Holiday("Emancipation Day", month=4, day=16, observance=us.nearest_workday),)


def names(date: pd.Series) -> list[str | None]:
    """Return the name of the holiday with an effect that is observed on each ``date``, from Monday to Friday."""
    known = _names((*_MAJOR, *_MINOR))
    return [known.get(one) for one in date]


def others(date: pd.Series, holiday: pd.Series) -> np.ndarray:
    """Return whether ``holiday`` is 1 on a ``date`` from Monday to Friday that the calendar does not know as a holiday."""
    known = _names((*_MAJOR, *_MINOR, *_WITHOUT_EFFECT))
    return np.array([one.weekday() < SATURDAY and one not in known for one in date], bool) & (holiday == 1).to_numpy()


@cache
def _names(rules: tuple[us.Holiday, ...]) -> dict[pd.Timestamp, str]:
    named = {date: rule.name for rule in rules for date in _dates((rule,))}  # type: ignore[attr-defined]
    return {date: name for date, name in named.items() if date.weekday() < SATURDAY}


@cache
def _dates(rules: tuple[us.Holiday, ...]) -> pd.DatetimeIndex:
    """Return all dates of holidays. pandas takes 2 ms for a rule, whatever the number of years."""
    span = pd.Timestamp(YEARS[0] - 1, 12, 1), pd.Timestamp(YEARS[1] + 1, 1, 31)
    return pd.DatetimeIndex([date for rule in rules for date in rule.dates(*span)])


def days(first: pd.Timestamp, last: pd.Timestamp) -> pd.DataFrame:
    """Return the kind of each day from ``first`` to ``last``, from the calendar alone, indexed by date.

    Kaggle's `holiday` and `workingday` are not used. They treat the day after Thanksgiving and 27 to 31 December as
    plain working days (and no training day shows otherwise), Emancipation Day as a holiday (commuters ride as usual),
    and Columbus Day like Christmas. `others` finds holidays that the calendar does not know.

    off: 1 for a day without work, 0.5 for a day on which part of the town works, 0 for a working day.
    quiet: 1 on Thanksgiving and from 24 December to 2 January, when people stay at home or are away.
    pattern: the weekday that the day resembles (0 Monday to 6 Sunday), or 7 for a short-staffed day. A free day before a free
    day counts as a Saturday, any other free day as a Sunday.
    acts_as: like pattern, but a short-staffed day keeps its own weekday.
    """
    dates = pd.date_range(first - pd.Timedelta(days=2), last + pd.Timedelta(days=2))

    weekday = dates.weekday.to_numpy()
    month, number = dates.month.to_numpy(), dates.day.to_numpy()
    thanksgiving = dates.isin(_dates((us.USThanksgivingDay,)))
    weekend = weekday >= SATURDAY
    major = dates.isin(_dates(_MAJOR))
    year_end = (month == 12) & (number >= 24) | (month == 1) & (number <= 2)
    eve = (month == 12) & np.isin(number, (24, 31))
    free = weekend | major | eve | np.roll(thanksgiving, 1) | (month == 1) & (number <= 2)
    short_staffed = (dates.isin(_dates(_MINOR)) | year_end) & ~free
    off = np.where(free, 1.0, np.where(short_staffed, 0.5, 0.0))
    before, after = np.roll(off, 1), np.roll(off, -1)
    acts_as = np.where(free & ~weekend, np.where(after == 1, SATURDAY, SUNDAY), weekday)
    table = pd.DataFrame(
        {
            "off": off,
            "off_yesterday": before,
            "off_tomorrow": after,
            "works": (off == 0).astype(int),
            "major_holiday": major.astype(int),
            "short_staffed": short_staffed.astype(int),
            "quiet": (year_end | thanksgiving).astype(int),
            "acts_as": acts_as,
            "pattern": np.where(short_staffed, SHORT_STAFFED, acts_as),
        },
        index=dates,
    )
    asked: pd.DataFrame = table.iloc[2:-2]
    return asked
