"""Find captured requests of a project: those of `make serve --capture`, or those of an endpoint in S3."""

from pathlib import PurePath

from stages import projects
from stages.common.errors import InputError
from stages.engine.aws import captures


def texts(source: str, project: str) -> list[tuple[str, str]]:
    """Return name and text of the captured files of ``project`` below ``source``, a folder or a URL that fsspec opens.

    A server's folder has a folder for each project; other files count as the project's. Raises InputError if there are none.
    """
    found, _ = captures.fetch(source)
    of = {name: PurePath(name).parent.name for name, _ in found}
    others = sorted({one for one in of.values() if one in projects.names() and one != project})
    own = [(name, text) for name, text in found if of[name] not in others]
    if not own:
        raise InputError(f"{source}: found captured requests of {', '.join(others)}, expected some of {project}")
    return own
