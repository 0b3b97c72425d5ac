"""Read captured requests and answers as SageMaker writes them: JSON Lines, several records per file.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html
"""

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True)
class Captured:
    """One request and its answer."""

    event: str
    """The record's id."""
    time: datetime
    """Time of the answer, in UTC."""
    image: bytes
    """The picture file of the request: PNG from the workflow, from other clients any format that the endpoint accepts."""
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
    """The records of some files. ``problems`` names the lines that could not be read, and why."""

    records: list[Captured]
    problems: list[str]


def read(files: Iterable[tuple[str, str]]) -> Read:
    """Return the records of ``files`` (name and text) ordered by time, each once.

    A line that is not a record is left out and reported: a request without an answer, a request of another type, or a last
    line that was cut off. Lines can be cut off because files are read while they are written.
    """
    records: dict[str, Captured] = {}
    problems = []
    for name, text in files:
        lines = text.split("\n")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = parse(line)
            except ValueError as error:
                cut = number == len(lines) and not _is_json(line)
                problems.append(f"{name}: line {number}: {'cut off' if cut else error}, left out")
            else:
                records[record.event] = record
    return Read(sorted(records.values(), key=lambda record: (record.time, record.event)), problems)


def parse(line: str) -> Captured:
    """Return the record in a line. Raise ValueError with what was found and what was expected."""
    try:
        record = json.loads(line)
        request, answer = record["captureData"]["endpointInput"], record["captureData"]["endpointOutput"]
        about = record["eventMetadata"]
        event, time = str(about["eventId"]), datetime.fromisoformat(about["inferenceTime"])
        kind, image, content = _kind(request), _data(request), json.loads(_data(answer))
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"found no captured record ({type(error).__name__}: {error})") from None
    if not kind.startswith("image/"):
        raise ValueError(f"found a request of type {kind}, expected a picture")
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return Captured(event, time, image, *_answer(content))


def _answer(content: Any) -> tuple[tuple[float, ...], bool | None]:
    """Return the probabilities and whether the picture is known, of an answer about one picture: a list, or a verbose object."""
    probabilities, known = content, None
    try:
        if isinstance(content, dict):
            (probabilities,) = content["probabilities"]
            (known,) = content.get("known", [None])
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"found the answer {str(content)[:80]}, expected a list of probabilities") from None
    if (
        not isinstance(probabilities, list)
        or not probabilities
        or not all(type(p) in (int, float) and 0 <= p <= 1 for p in probabilities)
        or not (known is None or isinstance(known, bool))
    ):
        raise ValueError(f"found the answer {str(content)[:80]}, expected a list of probabilities")
    return tuple(float(p) for p in probabilities), known


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _kind(part: dict[str, str]) -> str:
    """Return the content type without its parameters."""
    return part["observedContentType"].split(";")[0].strip().lower()


def _data(part: dict[str, str]) -> bytes:
    if part["encoding"] != "BASE64":
        return part["data"].encode()
    try:
        return base64.b64decode(part["data"], validate=True)
    except binascii.Error as error:
        raise ValueError(f"found data that is not base64 ({error})") from None
