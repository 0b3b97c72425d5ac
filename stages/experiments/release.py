"""Register the model that export wrote as a version of its project: an annotated git tag, such as mnist@v1.0.0.

Others must be able to get and reproduce a release. So everything must be committed, the results must match the code,
parameters and data, and their content must be on the default remote. This program pushes nothing: a push may take long,
cost money, and show data to others. It prints the next commands. A release is a tag: before you push it,
`git tag --delete mnist@v1.0.0` removes it.
"""

import argparse
import re
from pathlib import Path

import gto
from dvc.config import Config
from dvc.repo import Repo
from gto.exceptions import GTOException
from scmrepo.exceptions import SCMError

from stages.common import config
from stages.common.errors import InputError
from stages.common.models import registry
from stages.common.program import run
from stages.common.results import metrics
from stages.experiments.records.git import git
from stages.experiments.records.revisions import Revision


def known(project: str) -> None:
    """Raise InputError unless dvc.yaml has an artifact called ``project``."""
    if not Path("dvc.yaml").exists():
        raise InputError("dvc.yaml is missing: run this from the project's root")
    artifacts = config.read(Path("dvc.yaml"))["artifacts"]
    if project not in artifacts:
        raise InputError(f"{project!r} is not a project: expected one of {', '.join(artifacts)}")


def follows(project: str, version: str) -> None:
    """Raise InputError unless ``version`` is valid and above all registered ones."""
    if not re.fullmatch(config.VERSION, version):
        raise InputError(f"{version!r} is not a version: expected vMAJOR.MINOR.PATCH, such as v1.0.0")
    there = registry.versions(project)
    if version in there:
        raise InputError(f"{project}@{version} is already registered: expected a version above {there[-1]}")
    if there and registry.number(version) < registry.number(there[-1]):
        raise InputError(f"{project}@{version} is below the last version: expected a version above {there[-1]}")


def committed() -> None:
    """Raise InputError if a tracked file differs from the last commit, or a file below stages/ was never committed."""
    changed = (
        git("status", "--porcelain", "--untracked-files=no").splitlines()
        + git("status", "--porcelain", "--", "stages").splitlines()
    )
    names = sorted({line[3:] for line in changed})
    if names:
        raise InputError(
            f"{_some(names)} not committed: `git add` and `git commit` the files that belong to the release"
        )


def reachable(repo: Repo) -> None:
    """Raise InputError unless every clone of this repository has the same default remote.

    Clones have .dvc/config, which is committed, but not .dvc/config.local. A relative path leads them elsewhere.
    """
    committed = Config.load_file(repo.config.files["repo"])
    name = committed.get("core", {}).get("remote")
    found = committed.get("remote", {}).get(name, {})
    url = found.get("url")
    remedy = (
        f"set an address that others reach (`dvc remote modify {name} url s3://BUCKET/prefix`, or an absolute path on a shared "
        "disk), commit .dvc/config, `dvc push`"
    )
    if url is None:
        raise InputError(
            "nobody else could get the release: .dvc/config has no default remote: `dvc remote add --default storage "
            "s3://BUCKET/prefix`, commit it, `dvc push`"
        )
    if "://" not in url and not Path(url).is_absolute():
        raise InputError(
            f"nobody else could get the release: the default remote is {url}, a path beside this checkout: {remedy}"
        )
    here = repo.config["remote"].get(repo.config["core"].get("remote"), {})
    if different := [key for key in ("url", "endpointurl") if here.get(key) != found.get(key)]:
        raise InputError(
            f"nobody else could get the release: the default remote's {different[0]} is {here.get(different[0])} only in this "
            f"checkout, .dvc/config says {found.get(different[0])}: {remedy}, and `dvc remote modify --local --unset {name} {different[0]}`"
        )


def reproduced(repo: Repo, project: str) -> None:
    """Raise InputError unless the results match code, parameters and data, and deploy served this export."""
    targets = [f"deploy@{project}", f"plot@{project}"]
    if changed := repo.status(targets=targets, with_deps=True):
        raise InputError(
            f"{_some(sorted(changed))} not up to date: run `dvc repro {' '.join(targets)}` and commit the changes"
        )
    if version := config.read()["deploy"][project]["version"]:
        raise InputError(
            f"params.yaml: deploy.{project}.version = {version!r}, so deploy has not served this export: set it to null, "
            f"run `dvc repro deploy@{project}` and commit"
        )


def pushed(repo: Repo, project: str) -> None:
    """Raise InputError unless the content of the project's results is on the default remote."""
    push = f"dvc push --with-deps deploy@{project} plot@{project}"
    try:
        found = repo.status(targets=[f"deploy@{project}", f"plot@{project}"], with_deps=True, cloud=True)
    except Exception as error:  # each kind of remote has its own errors
        raise InputError(
            f"can't read the default remote ({type(error).__name__}: {error}): to set one up, see docs/storage.md"
        ) from error
    if missing := sorted(path for path, state in found.items() if state == "missing"):
        raise InputError(
            f"{_some(missing)} neither in DVC's cache nor on the remote: run `dvc repro --force`, then `{push}`"
        )
    if new := sorted(path for path, state in found.items() if state == "new"):
        raise InputError(f"{_some(new)} not on the default remote, so nobody else could get the release: run `{push}`")


def summary(project: str, revision: Revision) -> str:
    """Return a model's metrics in one line, such as `data sample, test accuracy 93.06 %`."""
    measured = revision.metrics(project)
    figures = [
        f"{metric.title} {metric.write(measured[name])}"
        for name, metric in metrics.read()[project].items()
        if name in measured and metric.better
    ]
    return ", ".join([f"data {measured['data']}", *figures])


def main(project: str, version: str) -> None:
    known(project)
    follows(project, version)
    committed()
    repo = Repo()
    reachable(repo)
    reproduced(repo, project)
    pushed(repo, project)
    message = f"{project} {version}: {summary(project, Revision())}"
    try:
        tag = gto.api.register(".", project, "HEAD", version=version, message=message).tag
    except (GTOException, SCMError) as error:
        raise InputError(f"can't register {project}@{version}: {error}") from error
    print(f"{message}\n\n{NEXT.format(tag=tag, project=project, version=version)}")


NEXT = """Registered as the tag {tag}. Next:
  git push origin {tag}                            show it to others
  dvc artifacts get . {project} --rev {version}            get the archive; instead of . its URL
  dvc exp run -S deploy.{project}.version={version} deploy@{project}    serve it and compare with its evaluation"""


def _some(names: list[str]) -> str:
    """Return the first three of ``names`` with a verb, such as `a, b, c and 3 more are`."""
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{shown} {'is' if len(names) == 1 else 'are'}"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", help="the model's project, such as mnist")
    parser.add_argument("version", help="such as v1.0.0, above all registered versions")


if __name__ == "__main__":
    run(main, arguments)
