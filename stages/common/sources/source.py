"""Open a project's data: its sample, its official source, a path or a URL.

Each project's prepare stage calls `open_source` for a folder with the data set in its published layout:

    with open_source("mnist", settings, sample=sample.write, official=official.fetch) as source:
        images = read(source.folder / "train-images-idx3-ubyte.gz")
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from stages.common import config, files, temporary
from stages.common.errors import InputError


class SourceSettings(config.Section):
    """The `data` parameters of a project that choose its source."""

    source: str | None = Field(min_length=1, description="this project's own source; null: data.source")


@dataclass(frozen=True)
class Source:
    """An opened data set: ``folder`` has its files, ``name`` is its name in the metrics."""

    folder: Path
    name: str


EXPECTED = "sample, official, a folder or a URL"

Writer = Callable[[Path], None]
"""Function that fills an empty folder with the data set's files in their published layout."""


@contextmanager
def open_source(project: str, settings: SourceSettings, sample: Writer, official: Writer) -> Iterator[Source]:
    """Yield the data that params.yaml names. Raises InputError if it is not available.

    The given functions make `sample` and `official`. For a path or URL in `data.source`, the data is its subfolder with
    the project's name. For one in the project's own source, it is that subfolder or, if there is none, the path or URL
    itself. Relative paths start at the project's root, in DVC's temporary copies too.
    """
    common = config.read().get("data", {}).get("source")
    if not isinstance(common, str) or not common:
        raise InputError(f"{config.PARAMETERS}: data.source = {common!r} is not allowed: expected {EXPECTED}")
    source = settings.source or common
    if source in ("sample", "official"):
        with temporary.folder("source") as made:
            (sample if source == "sample" else official)(made)
            yield Source(made, source)
    elif "://" in source:
        yield Source(_fetch(project, source, own=settings.source is not None), _shown(source))
    else:
        yield Source(_find(project, source, own=settings.source is not None), source)


def check(setting: str, source: str | None) -> None:
    """Raise InputError if the parameter ``setting`` names a folder that does not exist. URLs are not checked.

    Each project's prepare stage checks whether the folder has its data: a user may want to run only some projects.
    """
    if source is not None and source not in ("sample", "official") and "://" not in source:
        _folder(setting, source)


def _find(project: str, source: str, own: bool) -> Path:
    setting = f"data.{project}.source" if own else "data.source"
    folder = _folder(setting, source)
    return folder if own and not (folder / project).is_dir() else _folder(setting, source, project)


def _folder(setting: str, source: str, inner: str = "") -> Path:
    folder = files.home() / Path(source).expanduser() / inner
    if folder.is_dir():
        return folder
    raise InputError(
        f"{config.PARAMETERS}: {setting} = {source!r} is not allowed: there is no folder {folder}, expected {EXPECTED}"
    )


def _fetch(project: str, url: str, own: bool) -> Path:
    """Copy the folder at ``url`` (anything fsspec opens) to the downloads, and return the copy.

    A file is downloaded again if its size, or the version that the server reports, has changed.
    """
    import fsspec
    from tqdm import tqdm

    try:
        system, root = fsspec.url_to_fs(url.rstrip("/"))
        inner = f"{root}/{project}"
        if system.isdir(inner):
            root = inner
        elif not (own and system.isdir(root)):
            raise InputError(f"{_shown(url)}: there is no folder {project} in it")
        listing = system.find(root, detail=True)
    except InputError:
        raise
    except Exception as error:  # each file system behind fsspec has its own errors
        raise InputError(
            f"{_shown(url)} can't be read ({_reason(error)}): check the address, the network and the credentials"
        ) from error
    copy = files.home() / "data" / "downloads" / project / hashlib.sha256(url.encode()).hexdigest()[:16]
    ledger_path = copy.with_suffix(".json")
    ledger = files.read_json(ledger_path) if ledger_path.exists() else {}
    kept: dict[str, str | None] = {}
    for name, about in tqdm(sorted(listing.items()), desc=f"{project}: fetching {_shown(url)}", unit="file"):
        relative = name.removeprefix(root).lstrip("/")
        target = copy / relative
        if not target.resolve().is_relative_to(copy.resolve()):
            raise InputError(f"{_shown(url)}: {_shown(name)!r} would be written outside its folder")
        try:
            version = _version(about if about.get("size") is not None else system.info(name))
            if version is None or ledger.get(relative) != version or not target.exists():
                with files.new_file(target) as partial:
                    system.get_file(name, str(partial))
        except Exception as error:
            raise InputError(
                f"{_shown(name)} could not be downloaded ({_reason(error)}): run this again to resume"
            ) from error
        kept[relative] = version
        files.write_json(ledger_path, ledger | kept)
    for path in sorted(copy.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(copy).as_posix() not in kept:
            path.unlink()
    files.write_json(ledger_path, kept)
    return copy


def _shown(url: str) -> str:
    """Return ``url`` without user name and password, which must not appear in messages or metrics."""
    return re.sub(r"(?<=://)[^/@]*@", "", url)


def _version(about: Mapping[str, object]) -> str | None:
    """Return a string that changes with the file's version, or None if the server reports no version."""
    marks = [about.get(key) for key in ("ETag", "LastModified", "mtime", "partial_md5", "md5Hash")]
    known = [str(mark) for mark in marks if mark]
    return f"{about.get('size')} {' '.join(known)}" if known else None


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
