"""Read captured requests and answers as SageMaker writes them: JSON Lines, several records per file.

Requests and answers are read as the endpoint and its clients read them (stages/scones/endpoint).

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stages.scones.endpoint import answer, picture


@dataclass(frozen=True)
class Captured:
    """One request and its answer."""

    event: str
    """The record's id, "" if it has none."""
    time: datetime
    """Time of the answer, in UTC."""
    image: bytes
    """The body of the request: a PNG file from the workflow, from other clients whatever they sent as a picture."""
    content_type: str
    """Of the request."""
    probabilities: tuple[float, ...]
    """One per class."""
    known: bool | None
    """Whether the picture resembles those of the classes; None if the answer does not tell."""

    @property
    def confidence(self) -> float:
        return max(self.probabilities)

    def passes(self, threshold: float) -> bool:
        """Return whether the workflow passes the answer on: the picture is not unknown, and the confidence not too low."""
        return self.known is not False and self.confidence >= threshold


@dataclass(frozen=True)
class Read:
    """The records of some files: each one found is in ``records`` or ``problems``, or was there before.

    ``problems`` names those that could not be read, and why. ``repeated`` counts those that were there before.
    """

    records: list[Captured]
    problems: list[str]
    repeated: int

    @property
    def found(self) -> int:
        return len(self.records) + len(self.problems) + self.repeated


def read(files: Iterable[tuple[str, str]], classes: Sequence[str] = ()) -> Read:
    """Return the records of ``files`` (name and text) ordered by time, each once.

    A record that cannot be read is left out and reported: a request without an answer, a request of another type, an
    answer that is no probability distribution over ``classes`` (none: any), or a last line that was cut off. Lines can be cut off because files are read while they are written.
    """
    records: list[Captured] = []
    problems = []
    known = set()
    repeated = 0
    for name, text in files:
        for place, content in _contents(text):
            try:
                record = parse(content, classes)
            except ValueError as error:
                problems.append(f"{name}: {place}: {error}, left out")
                continue
            if record.event and record in known:
                repeated += 1
            else:
                records.append(record)
            known.add(record)
    return Read(sorted(records, key=lambda record: (record.time, record.event)), problems, repeated)


def _contents(text: str) -> Iterator[tuple[str, Any]]:
    """Yield the place and the JSON value of each record: one per line, several on a line, or a list of records.

    The value is a ValueError if the text is not JSON.
    """
    text = text.removeprefix("\ufeff")
    try:
        whole = json.loads(text)  # a list of records, or one record, on any number of lines
    except (ValueError, RecursionError):
        yield from _lines(text)
        return
    if isinstance(whole, list):
        for number, content in enumerate(whole, 1):
            yield f"record {number}", content
    else:
        yield "line 1", whole


def _lines(text: str) -> Iterator[tuple[str, Any]]:
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        rest = line.strip().removeprefix("\ufeff")
        while rest:
            try:
                content, end = json.JSONDecoder().raw_decode(rest)
            except (ValueError, RecursionError) as error:
                cut = number == len(lines)
                yield f"line {number}", ValueError("cut off" if cut else f"found no captured record ({error})")
                break
            yield f"line {number}", content
            rest = rest[end:].strip()


def parse(content: Any, classes: Sequence[str] = ()) -> Captured:
    """Return the record in ``content``, a JSON value. Raise ValueError with what was found and what was expected."""
    if isinstance(content, ValueError):
        raise content
    try:
        request, reply = content["captureData"]["endpointInput"], content["captureData"]["endpointOutput"]
        about = content["eventMetadata"]
        event, time = str(about.get("eventId") or ""), _time(about["inferenceTime"])
        # The endpoint takes a request without a type for application/octet-stream.
        kind, image = str(request.get("observedContentType") or "application/octet-stream"), _data(request)
        as_type = (
            "text/csv"
            if reply["encoding"].upper() == "CSV"
            else str(reply.get("observedContentType") or "application/json")
        )
        body = _data(reply)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"found no captured record ({type(error).__name__}: {error})") from None
    try:
        picture.check_type(kind)
    except ValueError:
        raise ValueError(f"found a request of type {kind}, expected a picture") from None
    found = answer.read(body, as_type, classes)
    return Captured(event, time, image, kind, found.probabilities, found.known)


def _data(part: dict[str, Any]) -> bytes:
    """Return the bytes of a request or an answer. Some tools unpack JSON in JSON: then ``data`` is no text."""
    data = part["data"]
    if part["encoding"].upper() != "BASE64":
        return (data if isinstance(data, str) else json.dumps(data)).encode()
    try:
        return base64.b64decode("".join(data.split()), validate=True)  # some tools break long lines
    except (binascii.Error, ValueError):
        raise ValueError(f"found data that is not base64: it begins with {data[:20]!r}") from None


def _time(text: Any) -> datetime:
    """Return a time of ISO 8601, in UTC. Without an offset it is UTC."""
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):  # overflow: the first or last day of the calendar, in another zone
        raise ValueError(f"found the time {str(text)[:40]!r}, expected one such as 2026-03-01T10:00:00Z") from None
