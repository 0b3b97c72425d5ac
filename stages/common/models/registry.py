"""The model registry: each version of a project's model is an annotated git tag `<project>@v<major>.<minor>.<patch>`.

`python -m stages.experiments.release` makes the tags. dvc.lock at a tag has the hashes of the version's files.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stages.common import files, temporary
from stages.common.errors import InputError


def number(version: str) -> tuple[int, ...]:
    """Return a sort key for a version."""
    return tuple(int(part) for part in version.removeprefix("v").split("."))


def versions(project: str) -> list[str]:
    """Return the registered versions of a project's model in this repository, lowest first."""
    import gto  # here because it also imports DVC's git, which only this function needs
    from gto.exceptions import GTOException

    try:
        found = gto.api.show(str(files.home()), project, registered_only=True)
    except GTOException:  # no version is registered
        return []
    return sorted((one["version"] for one in found if one["is_active"]), key=number)


@contextmanager
def opened(project: str, version: str | None, paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the folder that has the ``paths`` of a released version of ``project``. None yields the working folder.

    The files are copied from DVC's cache or remote to a temporary folder, which is deleted when the block ends. The
    working folder does not change. Raises InputError if the version is unknown or its files are not available.
    """
    if version is None:
        yield Path()
        return
    known = versions(project)
    if version not in known:
        there = ", ".join(known) or f"one made by `make release PROJECT={project} VERSION={version}`"
        raise InputError(f"{project}: version {version!r} is not registered: expected {there}")
    with temporary.folder("released") as folder:
        _fetch(f"{project}@{version}", paths, folder)
        yield folder


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
            f"{tag}: {path} is neither in DVC's cache nor on its remote ({type(error).__name__}): run "
            f"`git checkout {tag} && dvc push` where it was released, then `dvc fetch --all-tags` here"
        ) from error
