"""A review as Markdown: what GitHub shows in a comment, and, as HTML, what the page of the review shows."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stages.experiments.reviewing.changes import NOT_CACHED, Picture
from stages.experiments.reviewing.guards import Guard

GUARD_COLUMNS = ["project", "figure", "base", "here", "change", "tolerance", "verdict"]


@dataclass(frozen=True)
class Review:
    """What a change did."""

    base: str
    """How the base is named to people."""
    stale: list[str]
    """Stages whose results are not of the code here."""
    guards: list[Guard]
    loosened: list[str]
    metrics: str
    """What `dvc metrics diff --md` shows; empty for no difference."""
    parameters: str
    causes: list[tuple[str, str]]
    following: list[str]
    readings: list[tuple[str, str, str, str]]
    pictures: list[Picture]

    def failures(self) -> list[str]:
        """What is wrong, in a line each."""
        stale = f"the results are not of this code ({_few(self.stale)}): run `dvc repro` first"
        return [*([stale] if self.stale else []), *(guard.failure for guard in self.guards if guard.failure)]

    def verdict(self) -> str:
        if self.stale:
            return "the results are not of this code"
        if failing := sum(bool(guard.failure) for guard in self.guards):
            return f"{failing} of {len(self.guards)} guarded figures {'fails' if failing == 1 else 'fail'}"
        if any([self.loosened, self.metrics, self.parameters, self.causes, self.following, self.pictures]):
            return f"all {len(self.guards)} guarded figures hold"
        return "nothing changed"


def text(review: Review) -> str:
    """All but the pictures."""
    return "\n\n".join(part for part in _parts(review) if part) + "\n"


def _parts(review: Review) -> Iterable[str]:
    yield f"## Review: {review.verdict()}"
    yield _list(f"**{escaped(line)}**" for line in review.failures())
    yield _list(f"**Guards:** {escaped(line)}" for line in review.loosened)
    yield f"Against {escaped(review.base)}."
    if review.metrics:
        yield "### Figures"
        yield review.metrics
    if review.guards:
        changed = [guard.row() for guard in review.guards if guard.changed]
        yield "### Guarded figures"
        yield _table(GUARD_COLUMNS, changed) if changed else "None of them changed."
        rows = _table(GUARD_COLUMNS, [guard.row() for guard in review.guards])
        yield f"<details><summary>all {len(review.guards)}</summary>\n\n{rows}\n\n</details>"
    if review.parameters:
        yield "### Parameters"
        yield review.parameters
    if review.causes or review.following:
        yield "### Stages with other inputs"
        yield _table(["stage", "code, data or parameters"], review.causes) if review.causes else ""
        yield f"What only follows them: {escaped(', '.join(review.following))}." if review.following else ""
    if review.readings:
        yield "### Time and size"
        yield "For information: clock readings of other hardware differ. Latencies are medians."
        yield _table(["project", "of", "base", "here"], review.readings)


def pictures(review: Review) -> str:
    """The pictures that changed, before and after, as links into `pictures/`; empty for none."""
    if not review.pictures:
        return ""
    parts = [f"### Pictures that changed: {len(review.pictures)}"]
    if any(picture.missing for picture in review.pictures):
        parts.append(f"Some of the base's pictures are missing below: {NOT_CACHED}.")
    for picture in review.pictures:
        shown = [f"![{which}](pictures/{name})" if content else name for which, content, name in picture.sides()]
        parts += [f"{escaped(picture.path)}", _table(["before", "after"], [shown], ready=True)]
    return "\n\n".join(parts) + "\n"


def escaped(value: str) -> str:
    """``value`` in one line of Markdown that shows it as it is."""
    line = " ".join(value.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", line)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], ready: bool = False) -> str:
    cells = [row if ready else [escaped(value) for value in row] for row in rows]
    lines = [columns, ["---"] * len(columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _few(names: Sequence[str]) -> str:
    more = [f"{len(names) - 3} more"] if len(names) > 3 else []
    return ", ".join([*names[:3], *more])
