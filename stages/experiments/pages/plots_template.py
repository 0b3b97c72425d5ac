"""Write .dvc/plots.html, the page that `dvc plots show` and `dvc plots diff` fill.

It contains Vega and needs no network. DVC's own page loads Vega from another host. `html_template` in .dvc/config
selects this one.
"""

from pathlib import Path

from stages.common.program import run
from stages.experiments.pages import page

TEMPLATE = Path(".dvc/plots.html")


def main() -> None:
    page.write(TEMPLATE, "plots.html", vega=page.vega())


if __name__ == "__main__":
    run(main)
