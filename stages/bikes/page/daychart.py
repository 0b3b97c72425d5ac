"""Draw a day's forecast against the counts of similar days, as SVG in the page's own colours."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from stages.bikes.page.history import Typical

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 14, 34


@dataclass(frozen=True)
class Forecast:
    """An hour's forecast, riders per hour. 80 % of such hours have from ``low`` to ``high``."""

    count: float
    low: float
    high: float


def draw(forecast: Mapping[int, Forecast], actual: Mapping[int, float], typical: Typical, hour: int, words: str) -> str:
    """Return the chart: a band and a line for similar days and for the forecast, dots for the counts, a mark at ``hour``.

    ``forecast`` and ``actual`` are by hour. ``words`` describe the chart for those who don't see it.
    """
    bounds = [one.high for one in forecast.values()] + [value for value in typical.high if not math.isnan(value)]
    values = [*bounds, *actual.values(), 1.0]
    step = _step(max(values))
    highest = step * math.ceil(max(values) / step)

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * at / 23

    def y(count: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * count / highest

    def line(points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{x(at):.1f},{y(count):.1f}" for at, count in points)

    grid = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(count):.1f}" y2="{y(count):.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y(count) + 5:.1f}" text-anchor="end">{count}</text>'
        for count in range(0, highest + 1, step)
    )
    unit = f'<text x="{LEFT + 8}" y="{TOP + 14}">bikes per hour</text>'
    ticks = "".join(
        f'<text x="{x(at):.1f}" y="{HEIGHT - 10}" text-anchor="middle">{at}:00</text>' for at in range(0, 24, 6)
    )
    known = [at for at in range(24) if not math.isnan(typical.median[at])]
    band = [(at, typical.high[at]) for at in known] + [(at, typical.low[at]) for at in reversed(known)]
    hours = sorted(forecast)
    interval = [(at, forecast[at].high) for at in hours] + [(at, forecast[at].low) for at in reversed(hours)]
    dots = "".join(
        f'<circle class="actual" cx="{x(at):.1f}" cy="{y(count):.1f}" r="4"/>' for at, count in actual.items()
    )
    chosen = ""
    if hour in forecast:
        chosen = (
            f'<line class="hour" x1="{x(hour):.1f}" x2="{x(hour):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
            f'<circle class="chosen" cx="{x(hour):.1f}" cy="{y(forecast[hour].count):.1f}" r="7"/>'
        )
    return (
        f'<figure class="day"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(words)}">{grid}{ticks}{unit}'
        f'<polygon class="band" points="{line(band)}"/>'
        f'<polygon class="interval" points="{line(interval)}"/>'
        f'<polyline class="typical" points="{line([(at, typical.median[at]) for at in known])}"/>'
        f'<polyline class="forecast" points="{line([(at, forecast[at].count) for at in hours])}"/>{dots}{chosen}</svg>'
        f"<figcaption>{_legend(typical, bool(actual))}</figcaption></figure>"
    )


def _legend(typical: Typical, counted: bool) -> str:
    entries = [("forecast", "forecast"), ("interval", "its 80 % interval")]
    if typical.days:
        entries += [("typical", "median of similar days"), ("band", "their 10 % to 90 % range")]
    if counted:
        entries.append(("actual", "counted on this day"))
    return "".join(f'<span class="key"><i class="{kind}"></i>{escape(text)}</span>' for kind, text in entries)


def _step(highest: float) -> int:
    """Return the distance of the chart's lines: 1, 2 or 5 times a power of ten, so that there are four to nine of them."""
    power = 10 ** max(0, math.floor(math.log10(max(highest, 1) / 4)))
    return next(int(power * factor) for factor in (1, 2, 5, 10) if highest / (power * factor) <= 8)
