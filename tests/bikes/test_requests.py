"""bikes: how people write hours, as CSV and as JSON. Read right, or refused in words that say what to change."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import ROOT

from stages.bikes import prepare
from stages.bikes.hours import request
from stages.common.errors import InputError

HOUR: dict[str, Any] = {
    "datetime": "2012-03-20 08:00:00",
    "season": 1,
    "holiday": 0,
    "workingday": 1,
    "weather": 2,
    "temp": 14.76,
    "atemp": 17.425,
    "humidity": 57,
    "windspeed": 8.9981,
}
HEADER = ",".join(HOUR)
LINE = ",".join(map(str, HOUR.values()))
PLAIN = f"{HEADER}\n{LINE}\n"


def hour(**values: Any) -> str:
    return json.dumps([HOUR | values])


GOOD = {
    "plain": PLAIN,
    "BOM": "\ufeff" + PLAIN,
    "CRLF": PLAIN.replace("\n", "\r\n"),
    "CR": PLAIN.replace("\n", "\r"),
    "empty rows": f"\n{PLAIN},,,,,,,,\n\n  \n",
    "commas at the end of rows": f"{HEADER}\n{LINE},\n",
    "commas at the end of all lines": f"{HEADER},\n{LINE},\n",
    "capitals and spaces": PLAIN.replace(",", ", ").title(),
    "quotes": ",".join(f'"{name}"' for name in HOUR) + "\n" + ",".join(f'"{value}"' for value in HOUR.values()),
    "another order, more columns": f"id,{','.join(reversed(HOUR))},count\n7,{','.join(map(str, reversed(HOUR.values())))},16\n",
    "ISO 8601": PLAIN.replace("20 08:00:00", "20T08:00"),
    "JSON": hour(),
    "one object": json.dumps(HOUR),
    "columns": json.dumps({name: [value] for name, value in HOUR.items()}),
    "JavaScript without Z": hour(datetime="2012-03-20T08:00:00.000"),
    "text": json.dumps([{name: str(value) for name, value in HOUR.items()}]),
    "true and false": hour(workingday=True, holiday=False),
    "more keys": hour(count=None, note=[1]),
}


def kind(body: str) -> str:
    return "application/json" if body[:1] in "[{" else "text/csv; charset=utf-8"


@pytest.mark.parametrize("name", GOOD)
def test_an_hour_is_read_from_all_usual_forms(name: str) -> None:
    table = request.read(GOOD[name].encode(), kind(GOOD[name]))
    expected = HOUR | {"datetime": pd.Timestamp("2012-03-20 08:00:00")}
    assert table.to_dict("records") == [expected]


LIST = r"expected a list of objects such as \[\{.datetime.: .2011-01-31 23:00:00.,"

BAD = {
    "nothing": ("", "the body is empty: expected columns datetime,season"),
    "no rows": (HEADER, "found a header and no rows"),
    "commas": (",,,\n,,", "found no values, expected columns datetime"),
    "semicolons": (PLAIN.replace(",", ";"), "header: .*: the columns are separated by semicolons, save the table with commas"),
    "tabs": (PLAIN.replace(",", "\t"), "header: .*: the columns are separated by tabs"),
    "no header": (LINE, "header: .*: the header is missing"),
    "Excel's first line": (f"sep=,\n{PLAIN}", "header: .*: the first line has to be the header"),
    "no column": (PLAIN.replace("humidity", "hum"), "header: .*: no column humidity"),
    "a column twice": (f"{HEADER},datetime\n{LINE},2012-01-01 00:00:00", "header: found the column datetime twice"),
    "an index": (f"{HEADER}\n1,{LINE}\n", "row 1: found 10 values, expected 9"),
    "a short row": (f"{PLAIN}2012-03-20 09:00:00,1\n", "row 2: found 2 values, expected 9"),
    "an open quotation mark": (f"{HEADER}\n\"{'x' * 200_000}", "line 2: .* is a quotation mark missing"),
    "US date": (PLAIN.replace("2012-03-20 08:00:00", "3/20/2012 8:00"), "row 1, column datetime: found 3/20/2012 8:00, expected .*: write year, month and day in this order"),
    "date only": (hour(datetime="2012-03-20"), "row 1, column datetime: found 2012-03-20, expected an existing full hour, .*: write the hour, too, also at midnight"),
    "no such day": (hour(datetime="2012-02-30 08:00:00"), "expected an existing full hour"),
    "within an hour": (hour(datetime="2012-03-20 08:30:00"), "expected an existing full hour"),
    "epoch": (hour(datetime=1332230400000), "found 1332230400000, .*: convert seconds or milliseconds since 1970"),
    "UTC": (hour(datetime="2012-03-20T08:00:00.000Z"), "expected the town's own time without Z or offset, such as 2011-01-31 23:00:00: convert it"),
    "zone": (hour(datetime="2012-03-20 08:00 EST"), "expected an existing full hour, .*: write the town's own time, without a time zone"),
    "half a day": (hour(datetime="2012-03-20 08:00 pm"), "expected an existing full hour, .*: write the hour from 00 to 23"),
    "a key twice": (f'[{json.dumps(HOUR)[:-1]}, "temp": 3}}]', "found the key temp twice in an object, expected it once"),
    "offset": (hour(datetime="2012-03-20 08:00:00-05:00"), "expected the town's own time without Z or offset"),
    "1999": (hour(datetime="1999-12-31 23:00:00"), "expected an hour of the years 2000 to 2099"),
    "different values": (json.dumps([HOUR, HOUR | {"humidity": 60}]), "row 2: found 2012-03-20 08:00:00 twice with different values"),
    "Fahrenheit": (hour(temp=71.6, atemp=77), "row 1, column temp: found 71.6, expected a number from -60 to 60 °C: 71.6 degrees Fahrenheit are 22.0 °C"),
    "Kelvin": (hour(temp=295.15, atemp=298), "column temp: .*: 295.15 Kelvin are 22.0 °C"),
    "atemp in another unit": (hour(atemp=63), "column atemp: found 63, expected .* °C at temp 14.76, .*: 63 degrees Fahrenheit are 17.2 °C"),
    "temp alone on UCI's scale": (hour(temp=0.36), "column atemp: found 17.425, expected .* at temp 0.36, .*: if temp is on UCI's scale of 0 to 1, multiply it by 41 to get 14.8 °C"),
    "atemp alone on UCI's scale": (hour(atemp=0.3485), "column atemp: found 0.3485, .*: if atemp is on UCI's scale of 0 to 1, multiply it by 50 to get 17.4 °C"),
    "temp alone in Fahrenheit": (hour(temp=58.6), "column atemp: found 17.425, .*: if temp is in degrees Fahrenheit, 58.6 are 14.8 °C"),
    "a free working day": (hour(workingday=0), "column workingday: found 0, expected 1 on a Tuesday with holiday 0"),
    "a worked holiday": (hour(holiday=1), "column workingday: found 1, expected 0 on a Tuesday with holiday 1: a working day is from Monday to Friday and no holiday"),
    "a worked Sunday": (hour(datetime="2012-03-18 08:00:00"), "column workingday: found 1, expected 0 on a Sunday with holiday 0"),
    "UCI's scale": (hour(temp=0.36, atemp=0.35, humidity=0.57, windspeed=0.13), "column humidity: found 0.57, .* UCI's hour.csv has fractions, multiply its hum by 100"),
    "humidity": (hour(humidity=550), "column humidity: found 550, expected a number from 0 to 100 %"),
    "OpenWeatherMap": (hour(weather=800), r"column weather: found 800, expected a whole number from 1 to 4 \(1 clear, .*translate the codes of other weather services"),
    "season": (hour(season=7), r"column season: found 7, expected a whole number from 1 to 4 \(1 winter"),
    "between codes": (hour(weather=1.5), "column weather: found 1.5, expected a whole number"),
    "workingday": (hour(workingday=5), r"column workingday: found 5, expected a whole number from 0 to 1 \(0 no, 1 yes\)"),
    "wind": (hour(windspeed=-5), "column windspeed: found -5, expected a number from 0 to 250 km/h"),
    "comma": (hour(temp="14,76"), "column temp: found 14,76, .*: write a decimal point, not a comma"),
    "null": (hour(temp=None), "column temp: found nothing"),
    "NaN": (hour(temp=float("nan")), "column temp: found NaN"),
    "true": (hour(temp=True), "column temp: found True"),
    "a list in a row": (hour(temp=[1]), "row 1, column temp: found a list, expected one value"),
    "underscores": (hour(temp="1_4"), "column temp: found 1_4"),
    "other digits": (hour(temp="١٤"), "column temp: found ١٤"),
    "no key": (json.dumps([HOUR, {"datetime": "2012-03-20 09:00:00"}]), "row 2: found no season, expected an object with the keys"),
    "no objects": ("[[1]]", "row 1: found a list, expected an object"),
    "no list": ("{}", f"found an object .*{LIST}"),
    "TensorFlow's form": (json.dumps({"instances": [HOUR]}), f"found an object with the keys instances, {LIST}"),
    "empty list": ("[]", "found no rows"),
    "broken JSON": ('[{"datetime":', f"line 1, character 14: found no valid JSON, {LIST}"),
    "uneven columns": (json.dumps({name: [value] * (1 + (name == "temp")) for name, value in HOUR.items()}), "found columns of 1 to 2 values"),
    "too many": (json.dumps([HOUR] * (request.MAX_ROWS + 1)), "found more than 10000 rows"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_an_hour_is_refused_with_what_to_change(name: str) -> None:
    body, message = BAD[name]
    with pytest.raises(ValueError, match=message) as error:
        request.read(body.encode(), kind(body))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded", ""])
def test_other_content_types_are_refused_with_those_that_are_read(content_type: str) -> None:
    with pytest.raises(ValueError, match="is not known: expected text/csv or application/json"):
        request.read(PLAIN.encode(), content_type)
    with pytest.raises(ValueError, match="not in UTF-8"):
        request.read(PLAIN.encode("utf-16"), "text/csv")


UNLIKELY = [{"temp": 71.6}, {"humidity": 0.57}, {"weather": 800}, {"windspeed": 9000}, {"workingday": 0}]


@pytest.mark.parametrize("values", [*UNLIKELY, {"temp": 5.0, "atemp": 63.0}])
def test_prepare_refuses_what_the_served_model_refuses(tmp_path: Path, values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="column") as served:
        request.read(hour(**values), "application/json")
    file = tmp_path / "test.csv"
    file.write_text(f"{HEADER}\n{','.join(str(value) for value in (HOUR | values).values())}\n")
    with pytest.raises(InputError, match="line 2") as prepared:
        prepare.read_hours(file, list(HOUR))
    assert str(prepared.value) == f"{file}: line 2, {str(served.value).removeprefix('row 1, ')}"


BYTES = 4_000_000

COSTLY = {
    "another key in each object": json.dumps([{f"k{number}": 1} for number in range(12_000)]),
    "as many keys as fit": "[" + ",".join(f'{{"{number:x}":1}}' for number in range(320_000)) + "]",
    "empty objects": "[" + ",".join(["{}"] * (BYTES // 3)) + "]",
    "one wide object": "[{" + ",".join(f'"{number:x}":1' for number in range(400_000)) + "}]",
    "a long number": '[{"datetime":' + "9" * BYTES + "}]",
    "deep": "[" * BYTES,
    "a row of 200,000 fields": f"{HEADER}\n" + "1," * 200_000,
    "a space before 200,000 columns": " \n" + "1," * 200_000,
    "columns alone": "a," * (BYTES // 2),
    "empty rows": f"{HEADER}\n" + ",\n" * (BYTES // 2),
    "short rows": f"{HEADER}\n" + "1\n" * (BYTES // 2),
    "quotation marks": '"' * BYTES,
}

MEASURE = """
import resource, sys, time
from stages.bikes.hours import request
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # the largest so far, so all bodies together have one limit
for path, kind in zip(sys.argv[1::2], sys.argv[2::2]):
    body, begin = open(path, "rb").read(), time.process_time()
    try:
        request.read(body, kind)
    except ValueError:
        pass
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(time.process_time() - begin, grown / 1024)
"""


def test_a_small_body_costs_little(tmp_path: Path) -> None:
    """At most 2 s of the processor and 300 MB."""
    arguments = []
    for name, body in COSTLY.items():
        path = tmp_path / name
        path.write_text(body)
        assert len(body) <= BYTES + 100
        arguments += [str(path), kind(body)]
    command = [sys.executable, "-c", MEASURE, *arguments]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    costs = {name: tuple(map(float, line.split())) for name, line in zip(COSTLY, lines, strict=True)}
    assert not {name: cost for name, cost in costs.items() if cost[0] > 2 or cost[1] > 300}
