"""The model registry: versions of a project's model, which are annotated git tags `<project>@v<major>.<minor>.<patch>`.

`python -m stages.experiments.release` makes them; dvc.lock at the tag says which content belongs to it.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stages.common import files
from stages.common.program import InputError


def number(version: str) -> tuple[int, ...]:
    """A version by which versions are in order."""
    return tuple(int(part) for part in version.removeprefix("v").split("."))


def versions(project: str) -> list[str]:
    """The versions of a project's model that are registered in this repository, the lowest first."""
    import gto  # and with it DVC's git: for those who ask for versions
    from gto.exceptions import GTOException

    try:
        found = gto.api.show(str(files.home()), project, registered_only=True)
    except GTOException:  # there is none
        return []
    return sorted((one["version"] for one in found if one["is_active"]), key=number)


@contextmanager
def opened(project: str, version: str | None, paths: Sequence[Path]) -> Iterator[Path]:
    """The folder below which ``paths`` are those of a released version of ``project``; the working folder for None.

    They are read from DVC's cache, or from its remote, into a folder that is gone when the block ends; the working
    folder's own stay as they are. Raises InputError for an unknown version, and for one whose content is not to be had.
    """
    if version is None:
        yield Path()
        return
    known = versions(project)
    if version not in known:
        there = ", ".join(known) or f"none: `make release PROJECT={project} VERSION={version}` makes one"
        raise InputError(f"params.yaml: deploy.{project}.version = {version!r} is not registered: there is {there}")
    with tempfile.TemporaryDirectory(prefix=f"{project}-") as folder:
        _fetch(f"{project}@{version}", paths, Path(folder))
        yield Path(folder)


def _fetch(tag: str, paths: Sequence[Path], folder: Path) -> None:
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexError

    try:
        system = DVCFileSystem(str(files.home()), rev=tag)
        for path in paths:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            system.get(path.as_posix(), str(target), recursive=True)
    except (OSError, DvcException, DataIndexError) as error:
        raise InputError(
            f"{tag}: {path} is neither in DVC's cache nor on its remote ({type(error).__name__}): where it was released, "
            f"`git checkout {tag} && dvc push`, or here, once it is there, `dvc fetch --all-tags`"
        ) from error
