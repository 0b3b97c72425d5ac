"""Log each epoch's scores with DVCLive while training runs: VS Code's DVC extension and DVC Studio draw them as curves."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path("reports/live")
"""By project. The files are no outputs. DVC finds the dvc.yaml among them only if git does not ignore it."""

Log = Callable[[Mapping[str, float]], None]


@contextmanager
def curves(project: str, wanted: bool) -> Iterator[Log]:
    """Yield a function that logs an epoch's row of scores, if ``wanted``; otherwise one that does nothing."""
    if not wanted:
        yield lambda row: None
        return
    from dvclive.live import Live  # imports DVC and pandas, which takes a second

    folder = FOLDER / project

    def log(row: Mapping[str, float]) -> None:
        live.step = int(row["epoch"])
        for name, value in row.items():
            live.log_metric(name, value)
        live.sync()

    with Live(str(folder), save_dvc_exp=False, dvcyaml=str(folder / "dvc.yaml")) as live:
        yield log
