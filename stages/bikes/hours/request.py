"""Read the hours of a request: CSV with a header, or JSON. Raise ValueError with what to change if it can't be read.

Lengths, names and types are checked on lines and parsed JSON, before any table is made: a library would take minutes
and gigabytes for a small body with many columns.
"""

import csv
import io
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pandas as pd

from stages.bikes.hours import columns
from stages.bikes.hours.columns import COLUMNS, EXAMPLE, NAMES, shown

CONTENT_TYPES = ("text/csv", "application/json")

MAX_ROWS = 10_000
"""Hours per request: more than a year."""

MAX_COLUMNS = 1000

PACKED = (b"\x1f\x8b", b"BZh", b"PK\x03\x04", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
"""First bytes of files by gzip, bzip2, zip, xz and zstd."""

FORM = f"columns {','.join(NAMES)}, one row per hour"
LIST = f'a list of objects such as [{{"datetime": "{EXAMPLE}", "season": 1, ...}}] with the keys {", ".join(NAMES)}'
OBJECT = f"an object with the keys {', '.join(NAMES)}"
TOO_MANY = f"found more than {MAX_ROWS} rows, expected {MAX_ROWS} at most: send several requests"

Rows = dict[str, list[str]]
"""The values of each column as text. An empty text is a value that is not there."""


def read(body: bytes | str, content_type: str) -> pd.DataFrame:
    """Return the hours in Kaggle's columns: datetime64, int64 for codes and float64, in the order of the request.

    An hour may be there twice with the same values. Raise ValueError for all that can't be read or can't be an hour.
    """
    kind = content_type.split(";")[0].strip().lower()
    if kind not in CONTENT_TYPES:
        raise ValueError(f"content type {shown(content_type)!r} is not known: expected {' or '.join(CONTENT_TYPES)}")
    if isinstance(body, bytes) and body.startswith(PACKED):
        raise ValueError("the body is packed: send it with Content-Encoding: gzip, or unpack it first")
    try:
        text = body.decode("utf-8-sig") if isinstance(body, bytes) else body
    except UnicodeDecodeError:
        raise ValueError("the text is not in UTF-8: save the table as CSV UTF-8 or send JSON in UTF-8") from None
    if not text.strip():
        raise ValueError(f"the body is empty: expected {FORM}, as {' or '.join(CONTENT_TYPES)}")
    rows = _csv(text) if kind == "text/csv" else _json(text)
    try:
        table = pd.DataFrame({"datetime": columns.times(rows["datetime"])})
        for name, column in COLUMNS.items():
            values = columns.numbers(name, rows[name], column)
            table[name] = values.astype("int64") if column.whole else values
        columns.consistent(table)
    except columns.CellError as fault:
        raise ValueError(f"row {fault.row + 1}, {fault}") from None
    twice = table.drop_duplicates()["datetime"].duplicated()
    if twice.any():
        row = int(twice.idxmax())
        again = f"{table['datetime'][row]} twice with different values"
        raise ValueError(f"row {row + 1}: found {again}, expected each hour once")
    return table


def _csv(text: str) -> Rows:
    lines = _lines(csv.reader(io.StringIO(text, newline=None), skipinitialspace=True))
    header = [name.strip().lower() for name in next(lines, [])]
    if not header:
        raise ValueError(f"found no values, expected {FORM}")
    while len(header) > 1 and not header[-1]:
        header.pop()
    if len(header) > MAX_COLUMNS:
        raise ValueError(f"found {len(header)} columns, expected {MAX_COLUMNS} at most")
    missing = [name for name in NAMES if name not in header]
    if missing:
        found = shown(",".join(header))
        raise ValueError(f"header: found {found}, expected {','.join(NAMES)}{_header_mistake(header, missing)}")
    double = [name for name in NAMES if header.count(name) > 1]
    if double:
        raise ValueError(f"header: found the column {double[0]} twice, expected it once")
    places = [header.index(name) for name in NAMES]
    rows: Rows = {name: [] for name in NAMES}
    for number, line in enumerate(islice(lines, MAX_ROWS + 1)):
        if number == MAX_ROWS:
            raise ValueError(TOO_MANY)
        if len(line) < len(header) or any(line[len(header) :]):
            expected = f"{len(header)}, one per column of the header"
            raise ValueError(f"row {number + 1}: found {len(line)} values, expected {expected}")
        for name, place in zip(NAMES, places, strict=True):
            rows[name].append(line[place])
    if not rows["datetime"]:
        raise ValueError("found a header and no rows, expected at least one hour")
    return rows


def _lines(reader: Any) -> Iterator[list[str]]:
    """Yield the lines of a CSV file that have any value."""
    try:
        for line in reader:
            if any(map(str.strip, line)):
                yield line
    except csv.Error:
        where = f"line {reader.line_num}"
        raise ValueError(f"{where}: found a value without an end: is a quotation mark missing?") from None


def _header_mistake(header: list[str], missing: list[str]) -> str:
    """Return the likely mistake of a first line, as the end of a sentence."""
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if any(mark in one for one in header):
            return f": the columns are separated by {name}, save the table with commas and decimal points"
    if header[0].startswith(("#", "sep=")):
        return ": the first line has to be the header"
    if header[0][:1].isdigit():
        return ": the header is missing"
    return f": no column {', '.join(missing)}"


def _json(text: str) -> Rows:
    try:
        # Numbers stay text, so that a JSON number is checked as the same characters in a CSV file are.
        content = json.loads(text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, character {error.colno}"
        raise ValueError(f"{where}: found no valid JSON, expected {LIST}") from None
    except RecursionError:
        raise ValueError(f"found JSON that is nested too deep, expected {LIST}") from None
    if isinstance(content, dict) and all(isinstance(content.get(name), list) for name in NAMES):
        lengths = sorted({len(content[name]) for name in NAMES})
        if len(lengths) > 1:
            raise ValueError(f"found columns of {lengths[0]} to {lengths[-1]} values, expected the same number in each")
        if lengths[0] > MAX_ROWS:
            raise ValueError(TOO_MANY)
        content = [dict(zip(NAMES, values, strict=True)) for values in zip(*map(content.get, NAMES), strict=True)]
    if isinstance(content, dict) and "datetime" in content:
        content = [content]
    if not isinstance(content, list):
        raise ValueError(f"found {_kind(content)}, expected {LIST}")
    if not content:
        raise ValueError("found no rows, expected at least one hour")
    if len(content) > MAX_ROWS:
        raise ValueError(TOO_MANY)
    rows: Rows = {name: [] for name in NAMES}
    for number, one in enumerate(content, 1):
        if not isinstance(one, dict):
            raise ValueError(f"row {number}: found {_kind(one)}, expected {OBJECT}")
        for name in NAMES:
            if name not in one:
                raise ValueError(f"row {number}: found no {name}, expected {OBJECT}")
            rows[name].append(_cell(one[name], number, name))
    return rows


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"found the key {shown(name)} twice in an object, expected it once")
        found[name] = value
    return found


def _cell(value: Any, number: int, name: str) -> str:
    if isinstance(value, str | bool | None):
        return "" if value is None else str(value)
    raise ValueError(f"row {number}, column {name}: found {_kind(value)}, expected one value")


def _kind(value: Any) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else f"an object with the keys {shown(', '.join(value))}"
    return "a single value" if isinstance(value, str) else "true, false or null"
