"""A review as Markdown. GitHub shows it in a comment; the review's page shows it as HTML."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stages.common.markdown import escaped
from stages.experiments.reviewing.changes import NOT_CACHED, ChangedPlot
from stages.experiments.reviewing.guards import MetricGuard

GUARD_COLUMNS = ["project", "metric", "base", "here", "change", "tolerance", "verdict"]


@dataclass(frozen=True)
class Review:
    """The differences between a branch and its base."""

    base: str
    """The base's name for people."""
    stale: list[str]
    """Stages whose results do not match the code here."""
    guards: list[MetricGuard]
    loosened: list[str]
    metrics: str
    """Output of `dvc metrics diff --md`; empty if nothing differs."""
    parameters: str
    causes: list[tuple[str, str]]
    following: list[str]
    readings: list[tuple[str, str, str, str]]
    pictures: list[ChangedPlot]

    def failures(self) -> list[str]:
        """Return what is wrong, one line each."""
        stale = f"the results do not match this code ({_few(self.stale)}): run `dvc repro` first"
        return [*([stale] if self.stale else []), *(guard.failure for guard in self.guards if guard.failure)]

    def verdict(self) -> str:
        if self.stale:
            return "the results do not match this code"
        if failing := sum(bool(guard.failure) for guard in self.guards):
            return f"{failing} of {len(self.guards)} guarded metrics {'fails' if failing == 1 else 'fail'}"
        if any([self.loosened, self.metrics, self.parameters, self.causes, self.following, self.pictures]):
            return f"all {len(self.guards)} guarded metrics pass"
        return "nothing changed"


def text(review: Review) -> str:
    """Return the review as Markdown, without the plots."""
    return "\n\n".join(part for part in _parts(review) if part) + "\n"


def _parts(review: Review) -> Iterable[str]:
    yield f"## Review: {review.verdict()}"
    yield _list(f"**{escaped(line)}**" for line in review.failures())
    yield _list(f"**Guards:** {escaped(line)}" for line in review.loosened)
    yield f"Against {escaped(review.base)}."
    if review.metrics:
        yield "### Metrics"
        yield review.metrics
    if review.guards:
        changed = [guard.row() for guard in review.guards if guard.changed]
        yield "### Guarded metrics"
        yield table(GUARD_COLUMNS, changed) if changed else "None of them changed."
        rows = table(GUARD_COLUMNS, [guard.row() for guard in review.guards])
        yield f"<details><summary>all {len(review.guards)}</summary>\n\n{rows}\n\n</details>"
    if review.parameters:
        yield "### Parameters"
        yield review.parameters
    if review.causes or review.following:
        yield "### Stages with changed inputs"
        yield table(["stage", "code, data or parameters"], review.causes) if review.causes else ""
        yield f"Changed only through other stages: {escaped(', '.join(review.following))}." if review.following else ""
    if review.readings:
        yield "### Time and size"
        yield "These are not guarded: times depend on the hardware. Latencies are medians."
        yield table(["project", "what", "base", "here"], review.readings)


def pictures(review: Review) -> str:
    """Return the plots that changed, before and after, as links into `pictures/`; empty if there are none."""
    if not review.pictures:
        return ""
    parts = [f"### Plots that changed: {len(review.pictures)}"]
    if any(picture.missing for picture in review.pictures):
        parts.append(f"Some of the base's plots are missing below: {NOT_CACHED}.")
    for picture in review.pictures:
        shown = [f"![{which}](pictures/{name})" if content else name for which, content, name in picture.sides()]
        parts += [f"{escaped(picture.path)}", table(["before", "after"], [shown], ready=True)]
    return "\n\n".join(parts) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], ready: bool = False) -> str:
    """Return a Markdown table. Cells are escaped, except if they are ``ready``."""
    cells = [row if ready else [escaped(value) for value in row] for row in rows]
    lines = [columns, ["---"] * len(columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _few(names: Sequence[str]) -> str:
    more = [f"{len(names) - 3} more"] if len(names) > 3 else []
    return ", ".join([*names[:3], *more])
