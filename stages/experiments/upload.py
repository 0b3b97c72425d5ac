"""Publish the trained models with their cards: on the Hugging Face Hub, or on a DVC remote that others pull from.

    python -m stages.experiments.upload hub:NAME          a repository NAME/mnist, NAME/mnist-cnn, ... for each model
    python -m stages.experiments.upload REMOTE            one of `dvc remote list`

The models are those of the working tree, which must be up to date, and those of all finished experiments of recipes.
Uploading again replaces changed files. The Hub's token comes from HF_TOKEN or `hf auth login`, S3's from the usual chain.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dvc.exceptions import DvcException
from dvc.repo import Repo

from stages.common import config
from stages.common.errors import InputError
from stages.common.program import run
from stages.experiments import release
from stages.experiments.records import recipes
from stages.experiments.records.revisions import Revision

CARD = "model_card.md"
"""The model card in an export. The Hub shows it as README.md."""


class Model(NamedTuple):
    """One trained model."""

    name: str
    project: str
    revision: str | None
    """None: the working tree."""


def of_recipes(repo: Repo, projects: list[str]) -> Iterator[Model]:
    """Yield each recipe's model, from its finished experiment with the first seed, at any commit."""
    found = {name: revision for some in repo.experiments.ls(all_commits=True).values() for name, revision in some}
    for name, recipe in recipes.read().items():
        if recipe.project in projects and name in found:
            yield Model(name, recipe.project, found[name])


def files_of(model: Model) -> dict[str, bytes]:
    """Return the files of its export by name, with the card as README.md. Raises InputError if one isn't available."""
    revision, folder = Revision(model.revision), f"models/{model.project}/export"
    found = {Path(path).name: revision.read(path) for path in sorted(revision.hashes(folder) or {})}
    missing = [name for name, content in found.items() if content is None]
    if CARD not in found or missing:
        raise InputError(
            f"{model.name}: {folder}/{(missing or [CARD])[0]} is not in DVC's cache: run `dvc pull`, or the recipe again"
        )
    return {"README.md" if name == CARD else name: content for name, content in found.items() if content is not None}


def to_hub(namespace: str, models: list[Model], private: bool) -> None:
    """Upload each model to a repository of ``namespace`` on the Hub, in one commit. Raises InputError."""
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    if not get_token():
        raise InputError(
            "no token for the Hugging Face Hub: set HF_TOKEN to one that may write (https://huggingface.co/settings/tokens), "
            "or run `hf auth login`"
        )
    hub = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    whole = [(model, files_of(model)) for model in models]  # before anything is sent
    for model, content in whole:
        name = f"{namespace}/{model.name}"
        try:
            hub.create_repo(name, private=private, exist_ok=True)
            operations = [CommitOperationAdd(path, body) for path, body in content.items()]
            message = f"{model.name}: {release.summary(model.project, Revision(model.revision))}"
            done = hub.create_commit(name, operations, commit_message=message)
        except Exception as error:  # the Hub's client raises those of its HTTP library, too
            line = " ".join(str(error).split())[:300]
            raise InputError(
                f"can't upload {name} to the Hub ({line}): check the token, the name and the network"
            ) from None
        print(f"{name}: {len(content)} files, {done.commit_url}", flush=True)


def to_remote(repo: Repo, remote: str, models: list[Model]) -> None:
    """Push the results of each model's project to the DVC ``remote``. Raises InputError."""
    if remote not in repo.config["remote"]:
        known = ", ".join(repo.config["remote"])
        raise InputError(f"{remote!r} is not a destination: expected hub:NAME, or a DVC remote, one of {known}")
    for model in models:
        targets = [f"deploy@{model.project}", f"plot@{model.project}"]
        where = {"revs": [model.revision], "workspace": False} if model.revision else {}
        try:
            count = repo.push(targets, remote=remote, with_deps=True, **where)
        except (DvcException, OSError) as error:
            raise InputError(f"can't push {model.name} to {remote} ({error}): see docs/storage.md") from None
        print(f"{model.name}: {count} new files on {remote}", flush=True)


def main(to: str, project: str | None, private: bool) -> None:
    if project is not None:
        release.known(project)
    projects = [project] if project else list(config.read(Path("dvc.yaml"))["artifacts"])
    with Repo() as repo:
        for project in projects:
            release.reproduced(repo, project)
        models = [*(Model(project, project, None) for project in projects), *of_recipes(repo, projects)]
        if to.startswith("hub:"):
            to_hub(to.removeprefix("hub:"), models, private)
            return
        to_remote(repo, to, models)
    if names := [model.name for model in models if model.revision]:
        print(
            f"\nExperiments are git references. Show them to others: dvc exp push --no-cache origin {' '.join(names)}"
        )


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "to", help="hub:NAME, a user or an organisation of the Hugging Face Hub; or a DVC remote's name"
    )
    parser.add_argument("project", nargs="?", help="only this project's models")
    parser.add_argument("--private", action="store_true", help="create repositories that only their owner sees")


if __name__ == "__main__":
    run(main, arguments)
