"""Show the progress of several projects: one live line each in a terminal, plain lines elsewhere."""

from collections.abc import Iterable
from contextlib import ExitStack

from rich.console import Console
from rich.live import Live
from rich.text import Text

from stages.experiments.running.progress import ProjectProgress

REFRESHES = 4
"""Refreshes per second."""


class Display(ExitStack):
    """A context manager that shows the progress of ``runs``. Lines that `say` prints stay above the live ones."""

    def __init__(self, runs: Iterable[ProjectProgress]) -> None:
        super().__init__()
        self._runs = list(runs)
        self._width = max(len(run.project) for run in self._runs)
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._live = self._console.is_terminal and not self._console.is_dumb_terminal
        if self._live:
            live = Live(get_renderable=self._lines, console=self._console, refresh_per_second=REFRESHES)
            self.enter_context(live)

    def say(self, project: str, text: str) -> None:
        """Print ``text`` with the ``project``'s name before each line."""
        for line in text.splitlines():
            self._console.print(f"{project:{self._width}} | {line}", soft_wrap=True)

    def step(self, project: str, text: str | None) -> None:
        """Print ``text`` like `say`, but only if there are no live lines, which show the same."""
        if text and not self._live:
            self.say(project, text)

    def _lines(self) -> Text:
        lines = [f"{run.project:{self._width}}  {_state(run)}" for run in self._runs]
        return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")


def _state(run: ProjectProgress) -> str:
    if run.ended is not None:
        return run.outcome()
    if run.began is None:
        return "waiting"
    minutes, seconds = divmod(round(run.left()), 60)
    return f"{run.verb or 'starting':9}  {100 * run.share():3.0f} %  {minutes}:{seconds:02} left"
