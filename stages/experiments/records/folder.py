"""Read the results in a folder in which stages ran. This module needs neither git nor DVC."""

import io
import json
from pathlib import Path
from typing import Any

from stages.common import clocks, config, files
from stages.common.errors import InputError


class Folder:
    """The results in one folder, named for messages."""

    name: str

    def __init__(self, root: Path = Path()) -> None:
        self.name, self._root = str(root), root

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes; None if it does not exist."""
        try:
            return (self._root / path).read_bytes()
        except OSError:
            return None

    def json(self, path: str) -> Any:
        """Return a JSON file's content; None as in `read`. Raises InputError if it is not JSON."""
        content = self.read(path)
        try:
            return None if content is None else json.loads(content)
        except ValueError:
            raise InputError(f"{path} of {self.name} is not valid JSON: run `dvc repro` to write it again") from None

    def table(self, path: str) -> list[dict[str, str]] | None:
        """Return a CSV file's rows by column; None as in `read`."""
        content = self.read(path)
        return None if content is None else list(files.read_rows(io.StringIO(content.decode())))

    def parameters(self) -> dict[str, Any]:
        """Return the content of params.yaml."""
        parameters: dict[str, Any] = config.parse((self.read("params.yaml") or b"").decode()) or {}
        return parameters

    def metrics(self, project: str) -> dict[str, Any]:
        """Return a project's `metrics.json` and `details.json` as one mapping; empty if it has none."""
        found = [self.json(f"reports/{project}/{name}.json") or {} for name in ("metrics", "details")]
        return {name: value for part in found for name, value in part.items()}

    def training(self, project: str) -> dict[str, Any]:
        """Return the clock readings of a project's training; empty if it ran on another machine."""
        return self._clock(f"train@{project}", f"models/{project}/trained")

    def latency(self, project: str) -> dict[str, Any]:
        """Return the clock readings of a project's deployed model; empty if it ran on another machine."""
        return self._clock(f"deploy@{project}", f"models/{project}/export")

    def _clock(self, stage: str, output: str) -> dict[str, Any]:
        return clocks.read(stage, clocks.digest(self._root / output))
