"""Write .dvc/plots.html, the page that `dvc plots show` and `dvc plots diff` fill.

It contains Vega and needs no network. DVC's own page loads Vega from another host. `html_template` in .dvc/config
selects this one.
"""

from pathlib import Path

import vl_convert
from markupsafe import Markup

from stages.common.program import run
from stages.experiments.pages import page

TEMPLATE = Path(".dvc/plots.html")
VEGA_LITE = "5.21"
"""DVC's plots use version 5 of the schema."""


def main() -> None:
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", VEGA_LITE)
    page.write(TEMPLATE, "plots.html", bundle=Markup(bundle))  # noqa: S704 (a pinned package's own script)


if __name__ == "__main__":
    run(main)
