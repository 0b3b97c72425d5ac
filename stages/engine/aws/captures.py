"""Captured requests and answers in the form of SageMaker's data capture: JSON Lines, several records per file.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html
`make serve` writes the same form, so records of an endpoint and of a server are read in one way.
"""

import base64
import binascii
import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, TypeVar

from stages.common.errors import InputError

T = TypeVar("T")

FORM = "an object with captureData and eventMetadata"


class Record(NamedTuple):
    """One request and its answer."""

    event: str
    """The record's id, "" if it has none."""
    time: datetime
    """Time of the answer, in UTC."""
    content_type: str
    """The request's content type."""
    body: bytes
    answer_type: str
    answer: bytes


@dataclass(frozen=True)
class Read(Generic[T]):
    """The records of some files. Each one is in ``records`` or ``problems``, or is a repetition of an earlier one.

    ``problems`` names the unreadable ones, with the reasons. ``repeated`` counts the repetitions.
    """

    records: list[T]
    problems: list[str]
    repeated: int

    @property
    def found(self) -> int:
        return len(self.records) + len(self.problems) + self.repeated


def line(content_type: str, body: bytes, answer_type: str, answer: bytes, now: datetime) -> str:
    """Return a record as a line of JSON. The request is encoded as base64, as it may be any bytes; the answer is UTF-8 text."""
    request = {"observedContentType": content_type, "mode": "INPUT", "encoding": "BASE64"}
    reply = {"observedContentType": answer_type, "mode": "OUTPUT", "data": answer.decode()}
    reply["encoding"] = "CSV" if answer_type.startswith("text/csv") else "JSON"
    request["data"] = base64.b64encode(body).decode("ascii")
    captured = {"endpointInput": request, "endpointOutput": reply}
    about = {"eventId": str(uuid.uuid4()), "inferenceTime": now.isoformat()}
    return json.dumps({"captureData": captured, "eventMetadata": about, "eventVersion": "0"}) + "\n"


def fetch(source: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Return name and text of all .jsonl files below a folder, or a URL that fsspec opens, and the names of other files.

    The text may be in any of Unicode's encodings. Raises InputError if there are none.
    """
    import fsspec  # takes a moment, which the server does not need

    try:
        system, root = fsspec.url_to_fs(source)
        listed = sorted(system.find(root))
        contents = {name: system.cat_file(name) for name in listed if name.endswith(".jsonl")}
        found = [(name, content.decode(json.detect_encoding(content), "replace")) for name, content in contents.items()]
    except Exception as error:  # fsspec's file systems raise different errors
        raise InputError(f"cannot read {source} ({type(error).__name__}: {error})") from error
    if not found:
        others = f", only {listed[0]} and {len(listed) - 1} other files" if listed else ""
        raise InputError(f"{source}: found no .jsonl files{others}, expected an endpoint's captured requests")
    return found, [name for name in listed if name not in contents]


def read(files: Iterable[tuple[str, str]], convert: Callable[[Record], T]) -> Read[T]:
    """Return the records of ``files`` (name and text), converted by ``convert``, ordered by time, each once.

    A record is left out and reported if it is unreadable or ``convert`` raises ValueError, for example a request without
    an answer, or a last line that is cut off because the file is still being written.
    """
    records: list[tuple[Record, T]] = []
    problems, known, repeated = [], set(), 0
    for name, text in files:
        for position, content in _contents(text):
            try:
                record = parse(content)
                converted = convert(record)
            except ValueError as error:
                problems.append(f"{name}: {position}: {error}, left out")
                continue
            if record.event and record in known:
                repeated += 1
            else:
                records.append((record, converted))
            known.add(record)
    ordered = sorted(records, key=lambda one: (one[0].time, one[0].event))
    return Read([converted for _, converted in ordered], problems, repeated)


def _contents(text: str) -> Iterator[tuple[str, Any]]:
    """Yield the position and the JSON value of each record: one per line, several on a line, or a list of records.

    The value is a ValueError if the text is not JSON.
    """
    text = text.removeprefix("\ufeff")
    try:
        whole = json.loads(text)  # a list of records, or one record, on any number of lines
    except (ValueError, RecursionError):
        yield from _lines(text)
        return
    if isinstance(whole, list):
        yield from ((f"record {number}", content) for number, content in enumerate(whole, 1))
    else:
        yield "line 1", whole


def _lines(text: str) -> Iterator[tuple[str, Any]]:
    lines = text.split("\n")
    for number, content_line in enumerate(lines, 1):
        rest = content_line.strip().removeprefix("\ufeff")
        while rest:
            try:
                content, end = json.JSONDecoder().raw_decode(rest)
            except (ValueError, RecursionError):
                cut = number == len(lines)
                yield f"line {number}", ValueError("cut off" if cut else f"found no JSON, expected {FORM} on a line")
                break
            yield f"line {number}", content
            rest = rest[end:].strip()


def parse(content: Any) -> Record:
    """Return the record in ``content``, a JSON value. Raise ValueError with what was found and what was expected."""
    if isinstance(content, ValueError):
        raise content
    try:
        request, reply = content["captureData"]["endpointInput"], content["captureData"]["endpointOutput"]
        about = content["eventMetadata"]
        event, time = str(about.get("eventId") or ""), _time(about["inferenceTime"])
        # An endpoint takes a request without a type for application/octet-stream.
        kind, body = str(request.get("observedContentType") or "application/octet-stream"), _data(request)
        as_table = reply["encoding"].upper() == "CSV"
        as_type = "text/csv" if as_table else str(reply.get("observedContentType") or "application/json")
        return Record(event, time, kind, body, as_type, _data(reply))
    except KeyError as missing:
        raise ValueError(f"found no captured record: it lacks {missing.args[0]}") from None
    except (TypeError, AttributeError):
        raise ValueError(f"found no captured record: expected {FORM}") from None


def _data(part: dict[str, Any]) -> bytes:
    """Return the bytes of a request or an answer. ``data`` is not text if a tool has unpacked JSON in JSON."""
    data = part["data"]
    if part["encoding"].upper() != "BASE64":
        return (data if isinstance(data, str) else json.dumps(data)).encode()
    try:
        return base64.b64decode("".join(data.split()), validate=True)  # some tools break long lines
    except (binascii.Error, ValueError):
        raise ValueError(f"found data that is not base64: it begins with {data[:20]!r}") from None


def bodies(records: Iterable[Record], read: Callable[[bytes, str], T]) -> tuple[list[T], list[str]]:
    """Return ``read(body, content_type)`` for each request, and a line for each request for which it raises ValueError."""
    found: list[T] = []
    problems = []
    for record in records:
        try:
            found.append(read(record.body, record.content_type))
        except ValueError as error:
            problems.append(f"event {record.event}: {error}")
    return found, problems


def _time(text: Any) -> datetime:
    """Return a time of ISO 8601, in UTC. Without an offset it is UTC."""
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):  # overflow: the first or last day of the calendar, in another zone
        raise ValueError(f"found the time {str(text)[:40]!r}, expected one such as 2026-03-01T10:00:00Z") from None
