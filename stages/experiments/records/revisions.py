"""Read the results of a revision of this repository: a branch, a tag, an experiment or the working tree."""

from hashlib import md5
from pathlib import Path
from typing import Any

from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from dvc.scm import RevError
from dvc_data.index import DataIndexDirError

from stages.common import clocks, config, files
from stages.common.errors import InputError
from stages.experiments.records.folder import Folder


class Revision(Folder):
    """One revision, with its files in git and those that DVC tracks."""

    def __init__(self, name: str | None = None) -> None:
        """Open the revision that git or DVC call ``name``; None is the working tree. Raises InputError if unknown."""
        super().__init__()
        self.name = name or "workspace"
        try:
            self._files = DVCFileSystem(".", rev=name) if name else None
            if self._files:
                _ = self._files.repo  # open it now, so that an unknown name fails here and not at the first file
        except RevError:
            raise InputError(
                f"{name!r} is not a revision: expected a branch, a tag, a commit or one of `dvc exp list`"
            ) from None

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes; None if it does not exist or DVC's cache lacks its content (`dvc pull` fetches it)."""
        try:
            return self._files.read_bytes(path) if self._files else super().read(path)
        except (OSError, DvcException, DataIndexDirError):
            return None

    def hashes(self, folder: str) -> dict[str, str] | None:
        """Return the MD5 of every file below ``folder``, by path; None if DVC's cache has no list of these files."""
        if not self._files:
            paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
            return {str(path): files.digest(path, "md5") for path in paths}
        try:
            found: dict[str, dict[str, Any]] = self._files.find(folder, detail=True)
            return {
                path: info.get("md5") or md5(self._files.read_bytes(path), usedforsecurity=False).hexdigest()
                for path, info in found.items()
            }
        except (OSError, DvcException, DataIndexDirError):
            return None

    def stages(self) -> dict[str, dict[str, Any]]:
        """Return dvc.lock's stages by name, each with `cmd`, `deps`, `params` and `outs`; empty without a dvc.lock."""
        lock = config.parse(self.read("dvc.lock") or b"") or {}
        stages: dict[str, dict[str, Any]] = lock.get("stages", {})
        return stages

    def outputs(self) -> dict[str, dict[str, Any]]:
        """Return every output of dvc.lock by its path, with `md5` and `size` in bytes."""
        return {out["path"]: out for stage in self.stages().values() for out in stage.get("outs", [])}

    def _clock(self, stage: str, output: str) -> dict[str, Any]:
        if self._files is None and Path(output).is_dir():
            return super()._clock(stage, output)
        return clocks.read(stage, self.outputs().get(output, {}).get("md5", "none"))
