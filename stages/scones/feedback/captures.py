"""Read captured requests and answers of the endpoint, in SageMaker's form (stages/engine/aws/captures.py).

Requests and answers are read as the endpoint and its clients read them (stages/scones/endpoint).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from stages.engine.aws import captures
from stages.engine.aws.captures import Record
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


Read = captures.Read[Captured]


def read(files: Iterable[tuple[str, str]], classes: Sequence[str] = ()) -> Read:
    """Return the records of ``files`` (name and text) ordered by time, each once.

    A record that cannot be read is left out and reported: see `captures.read`; also a request of another type, and an
    answer that is no probability distribution over ``classes`` (none: any).
    """

    def converted(record: Record) -> Captured:
        try:
            picture.check_type(record.content_type)
        except ValueError:
            raise ValueError(f"found a request of type {record.content_type}, expected a picture") from None
        found = answer.read(record.answer, record.answer_type, classes)
        return Captured(record.event, record.time, record.body, record.content_type, found.probabilities, found.known)

    return captures.read(files, converted)
