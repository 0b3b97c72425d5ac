"""Show what this branch changes in metrics, parameters, plots and stages. Fail if a guarded metric got worse.

Compares the working tree with the commit where this branch left BASE. Writes reports/review/comment.md for a pull
request, and the same content as a page, reports/review/index.html. A metric of metrics/<project>.yaml with a
tolerance is guarded: the exit code is 1 if one is worse by more than that, is missing, or was measured on other data.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from dvc.commands.metrics import DEFAULT_PRECISION
from dvc.compare import diff_table
from dvc.exceptions import DvcException
from dvc.repo import Repo
from markdown_it import MarkdownIt

from stages.common import config, files
from stages.common.errors import InputError
from stages.common.program import run
from stages.common.results import metrics
from stages.experiments.pages import page
from stages.experiments.records.git import find
from stages.experiments.records.revisions import Revision
from stages.experiments.reviewing import changes, comment, guards
from stages.experiments.reviewing.comment import Review

REPORT = Path("reports/review")


def main(base: str, project: str | None = None) -> None:
    name, commit = branch_point(base)
    known = metrics.read()
    if project is not None and project not in known:
        raise InputError(f"{project!r} is not a project: expected one of {', '.join(known)}")
    review = compare(name, Revision(commit), Revision(), commit, project)
    write(review)
    print(f"{review.verdict()} (against {review.base}); see {REPORT}/index.html")
    for line in review.loosened:
        print(f"note: {line}")
    for line in review.failures():
        print(f"error: {line}", file=sys.stderr)
    if review.failures():
        sys.exit(1)


def branch_point(base: str) -> tuple[str, str]:
    """Return the base's name for people, and the revision where HEAD left ``base``.

    A pull request compares with the same revision: later commits on the base branch are not part of this branch's
    changes. An experiment, or a revision that shares no commit with HEAD, is itself the base.
    """
    if find("rev-parse", "--git-dir") is None:
        raise InputError("this is not a git repository: run `make review` in a clone of the project")
    shallow = find("rev-parse", "--is-shallow-repository") == "true"
    fetch = "`git fetch --unshallow origin '+refs/heads/*:refs/remotes/origin/*'` fetches the rest"
    tip = find("rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}")
    if tip is None:
        if shallow:
            raise InputError(f"{base!r} is not in this shallow clone: {fetch}")
        remote = find("rev-parse", "--verify", "--quiet", f"refs/remotes/origin/{base}^{{commit}}")
        if remote:
            raise InputError(f"{base!r} is not a branch here: run make review BASE=origin/{base}")
        Revision(base)  # a DVC experiment; otherwise this raises InputError
        return base, base
    commit = find("merge-base", "HEAD", tip)
    if commit is None and shallow:
        raise InputError(f"the commit where HEAD left {base!r} is not in this shallow clone: {fetch}")
    commit = commit or tip
    return f"{base} at {commit[:7]}", commit


def compare(name: str, base: Revision, head: Revision, commit: str, only: str | None = None) -> Review:
    """Compare ``base``, which is ``commit``, with ``head``, the working tree; of all projects or ``only`` one."""
    known = {project: own for project, own in metrics.read().items() if only in (None, project)}

    def in_scope(stage: str) -> bool:
        return only is None or stage.partition("@")[2] in ("", only)

    judged = [
        guard
        for project in known
        for guard in guards.judge(known, project, _figures(base, project), _figures(head, project))
    ]
    causes, following = changes.causes(base, head)
    return Review(
        base=name,
        stale=[stage for stage in Repo().status() if in_scope(stage)],
        guards=judged,
        loosened=guards.loosened({one: own for one, own in _guards(base).items() if only in (None, one)}, known),
        metrics=_differences("metrics", commit, only),
        parameters=_differences("params", commit, only),
        causes=[(stage, inputs) for stage, inputs in causes if in_scope(stage)],
        following=[stage for stage in following if in_scope(stage)],
        readings=[row for row in changes.readings(base, head) if only in (None, row[0])],
        pictures=[one for one in changes.pictures(base, head) if only is None or one.path.split("/")[1] == only],
    )


def _guards(base: Revision) -> dict[str, dict[str, Any]]:
    """Return the content of each metrics/<project>.yaml of ``base``, by project."""
    projects = sorted({name.partition("@")[2] for name in base.stages()} - {""})
    return {name: config.parse(base.read(f"{metrics.METRICS}/{name}.yaml") or b"") or {} for name in projects}


def _figures(revision: Revision, project: str) -> dict[str, Any]:
    try:
        return revision.metrics(project)
    except (AttributeError, TypeError):
        raise InputError(
            f"reports/{project}/metrics.json of {revision.name} is not a mapping: run `dvc repro` to write it again"
        ) from None


def _differences(kind: str, commit: str, only: str | None) -> str:
    """Return the table of `dvc metrics diff` or `dvc params diff`, as text without markup; empty if it has no rows.

    With ``only``, it has that project's metrics, or its parameters and those that several projects read.
    """
    try:
        changed = getattr(Repo(), kind).diff(a_rev=commit).get("diff", {})
    except DvcException as error:
        raise InputError(f"`dvc {kind} diff {commit[:7]}` failed: {error}") from None
    if only is not None:
        changed = {path: _of_project(path, names, only) for path, names in changed.items()}
    found = diff_table(
        changed,
        title=kind.removesuffix("s").capitalize(),
        show_changes=kind == "metrics",
        precision=DEFAULT_PRECISION if kind == "metrics" else None,
        round_digits=kind == "metrics",
        a_rev="base",
    )
    return comment.table(found.keys(), found) if len(found) else ""


def _of_project(path: str, names: dict[str, Any], only: str) -> dict[str, Any]:
    """Return the changes of one file of metrics or parameters, by dotted names, without those of other projects."""
    if path.startswith("reports/"):
        return names if path.split("/")[1] == only else {}
    others = set(metrics.read()) - {only}
    return {name: change for name, change in names.items() if not others & set(name.split(".")[:2])}


def write(review: Review) -> None:
    """Write the report and replace an earlier one."""
    text = comment.text(review)
    with files.new_folder(REPORT) as folder:
        (folder / "comment.md").write_text(text + "\n" + comment.pictures(review), encoding="utf-8")
        # On the page headings are one level higher, and wide tables in a scrolling box.
        html: str = MarkdownIt("commonmark").enable("table").render(re.sub(r"^#", "", text, flags=re.MULTILINE))
        body = html.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
        page.write(folder / "index.html", "review.html", REPORT, review=review, body=body, inlined=page.inlined)
        (folder / "pictures").mkdir()
        for picture in review.pictures:
            for _, content, name in picture.sides():
                if content:
                    (folder / "pictures" / name).write_bytes(content)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", nargs="?", help="judge only this project (default: all)")
    parser.add_argument("--base", default="main", help="a branch, tag, commit or experiment (default: main)")


if __name__ == "__main__":
    run(main, arguments)
