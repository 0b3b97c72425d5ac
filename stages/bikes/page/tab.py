"""The tab of bikes: choose a day, an hour and the weather, and see the forecast of rented bikes."""

import json
from collections.abc import AsyncIterator
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd
from pandas._libs import NaTType

from stages.bikes.hours.columns import COLUMNS
from stages.bikes.page import daychart, history
from stages.bikes.page.daychart import Forecast
from stages.bikes.page.history import AS_RECORDED, DRIEST, WEATHER, History, Typical, Weather
from stages.common import files
from stages.common.errors import InputError
from stages.serving.models import Models
from stages.serving.page.answers import answered
from stages.serving.page.html import block, note, one_block, table

HOURS = Path("data/bikes/features/hours.parquet")
SEASONS = COLUMNS["season"].codes


def tab(models: Models, folder: Path, opened: gr.Tab) -> None:
    try:
        past = History(pd.read_parquet(files.require(HOURS, "featurize@bikes")))
    except InputError as error:
        block(note(str(error)))
        return
    month, day, hour = past.months[-1], past.days(past.months[-1])[-1], 17

    async def forecast(
        month: str, day: float, hour: float, kind: str, temp: float, humidity: float, wind: float
    ) -> AsyncIterator[str]:
        hours = past.day(_date(month, day))

        async def ask() -> str:
            body = history.rows(hours, Weather(kind, temp, humidity, wind))
            answer = await models.predict("bikes", json.dumps(body).encode(), "application/json")
            forecast = {int(one["datetime"][11:13]): forecast_of(one) for one in answer["predictions"]}
            notes = (note(f"Note: {one}.") for one in answer.get("warnings", []))
            return shown(past, hours, forecast, int(hour), kind) + "".join(notes)

        if hours.empty:
            yield one_block(note("There is no data for this day: choose another one."))
            return
        async for markup in answered(ask):
            yield markup

    async def choose(month: str, day: float) -> tuple[Any, ...]:
        """Return the day, at most the month's last one, and its recorded weather."""
        day = min(int(day), past.days(month)[-1])
        hours = past.day(_date(month, day))
        if hours.empty:
            return day, AS_RECORDED, gr.skip(), gr.skip(), gr.skip()
        weather = history.recorded(hours)
        return day, weather.kind, weather.temp, weather.humidity, weather.windspeed

    weather = history.recorded(past.day(_date(month, day)))
    names = [(pd.Timestamp(f"{one}-01").strftime("%B %Y"), one) for one in past.months]
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            months = gr.Dropdown(names, value=month, label="Month", filterable=False)
            days = gr.Slider(1, 31, value=day, step=1, label="Day", buttons=[])
            hours = gr.Slider(0, 23, value=hour, step=1, label="Hour", buttons=[])
            kind = gr.Dropdown(list(WEATHER), value=AS_RECORDED, label="Weather", filterable=False)
            temp = gr.Slider(-20, 45, value=weather.temp, step=1, label=_label("temp"), buttons=[])
            humidity = gr.Slider(DRIEST, 100, value=weather.humidity, step=1, label=_label("humidity"), buttons=[])
            wind = gr.Slider(0, 60, value=weather.windspeed, step=1, label=_label("windspeed"), buttons=[])
            again = gr.Button("Weather as recorded", size="sm")
        with gr.Column(scale=2, min_width=300):
            result = block(live=True, elem_id="bikes-result")
    asked = [months, days, hours, kind, temp, humidity, wind]
    quiet: Any = {"api_visibility": "private", "show_progress": "hidden"}
    last: Any = quiet | {"trigger_mode": "always_last"}
    chosen = [days, kind, temp, humidity, wind]
    for event in (months.input, days.input, again.click):
        event(choose, [months, days], chosen, **last).then(forecast, asked, result, **last)
    gr.on([hours.input, kind.input, temp.input, humidity.input, wind.input], forecast, asked, result, **last)
    opened.select(forecast, asked, result, **quiet)


def _label(column: str) -> str:
    """Return a control's label, such as `Mean temperature, °C`."""
    return f"Mean {COLUMNS[column].meaning}, {COLUMNS[column].unit}"


def _date(month: str, day: float) -> pd.Timestamp | NaTType:
    """Return the date, or NaT if the month doesn't have this day."""
    return pd.to_datetime(f"{month}-{int(day):02d}", errors="coerce")


def forecast_of(answer: dict[str, Any]) -> Forecast:
    """Return an hour's forecast. A model of an earlier version answers without an interval."""
    count = float(answer["count"])
    return Forecast(count, float(answer.get("low", count)), float(answer.get("high", count)))


def shown(past: History, hours: pd.DataFrame, forecast: dict[int, Forecast], hour: int, weather: str) -> str:
    """Return the ``forecast`` by hour as HTML: a sentence, a chart and a table."""
    date = hours["date"].iloc[0]
    typical = past.typical(date)
    counted = hours.dropna(subset="count")
    actual = dict(zip(counted["hour"].tolist(), counted["count"].tolist(), strict=True))
    title = f"{date:%A}, {date.day} {date:%B %Y}"
    sentence = said(forecast, actual, typical, hour)
    chart = daychart.draw(forecast, actual, typical, hour, f"{title}: bikes rented by hour. {sentence}")
    lines = [
        [
            *(f"{at}:00", f"{one.count:.0f}", f"{one.low:.0f} to {one.high:.0f}"),
            *(f"{actual[at]:.0f}" if at in actual else "", _number(typical.median[at])),
        ]
        for at, one in sorted(forecast.items())
    ]
    names = ["Hour", "Forecast", "80 % interval", "Counted", "Median of similar days"]
    hours_table = table("Bikes by hour", names, lines)
    return (
        f'<p class="verdict"><strong>{escape(title)}</strong>, {_kind(hours, weather)}</p><p class="said">{escape(sentence)}</p>{chart}'
        f"<details><summary>As a table</summary>{hours_table}</details>"
    )


def said(forecast: dict[int, Forecast], actual: dict[int, float], typical: Typical, hour: int) -> str:
    """Return a sentence about the chosen hour."""
    if hour not in forecast:
        return f"There is no data for {hour}:00 on this day."
    one = forecast[hour]
    words = f"At {hour}:00 the model expects {one.count:.0f} bikes (80 % interval: {one.low:.0f} to {one.high:.0f})"
    if hour in actual:
        words += f"; {actual[hour]:.0f} were counted"
    if _number(typical.median[hour]):
        words += (
            f". On {typical.days} other days of this weekday and month the median was {typical.median[hour]:.0f}; "
            f"80 % of them had {typical.low[hour]:.0f} to {typical.high[hour]:.0f}"
        )
    return words + "."


def _kind(hours: pd.DataFrame, weather: str) -> str:
    """Describe the day and its weather: `working day in spring, a test day; mostly clear`."""
    first = hours.iloc[0]
    day = "holiday" if first["holiday"] else "working day" if first["workingday"] else "weekend"
    part = {"train": "a training day", "valid": "held out for validation", "test": "a test day"}[str(first["part"])]
    if weather == AS_RECORDED:
        usual = int(hours["weather"].mode()[0])
        weather = "mostly " + next(kind for kind, number in WEATHER.items() if number == usual)
    return f"{day} in {SEASONS[int(first['season'])]}, {part}; {weather}"


def _number(value: float) -> str:
    return "" if value != value else f"{value:.0f}"
