"""Draw a world map with one marked location, in the page's own colours. It is equirectangular: degrees are lengths."""

import json
from functools import cache
from html import escape
from pathlib import Path

LAND = Path(__file__).with_name("land.json")
"""The outline of the land and its source. Coordinates are tenths of a degree: x = 1800 + 10 longitude, y = 900 - 10 latitude."""

LEFT, TOP, WIDTH, HEIGHT = 0, 60, 3600, 1440
"""The visible part: from 84 degrees north to 60 degrees south, all land except Antarctica."""


@cache
def land() -> str:
    """Return the outline as a shape that every map of the page refers to, so that it is sent once."""
    path = json.loads(LAND.read_text(encoding="utf-8"))["path"]
    shape = f'<path id="land" d="{path}"/>'
    return f'<svg width="0" height="0" class="shapes" aria-hidden="true"><defs>{shape}</defs></svg>'


def place(name: str, latitude: float, longitude: float) -> str:
    """Return the map with a marker for ``name`` at the coordinates (degrees), and the coordinates in words below it."""
    x, y = 1800 + 10 * longitude, 900 - 10 * latitude
    north, east = f"{abs(latitude):.2f}° {'NS'[latitude < 0]}", f"{abs(longitude):.2f}° {'EW'[longitude < 0]}"
    words = f"{north}, {east}"
    # The name is on the side with more room for it.
    anchor, beside = ("end", x - 70) if x > LEFT + WIDTH / 2 else ("start", x + 70)
    label = escape(name)
    return (
        f'<figure class="map"><svg viewBox="{LEFT} {TOP} {WIDTH} {HEIGHT}" role="img" aria-label="Map of the world: '
        f'{label} at {words}"><use href="#land" class="land"/><circle class="halo" cx="{x:.0f}" cy="{y:.0f}" r="90"/>'
        f'<circle class="spot" cx="{x:.0f}" cy="{y:.0f}" r="34"/><text x="{beside:.0f}" y="{y + 40:.0f}" '
        f'text-anchor="{anchor}">{label}</text></svg><figcaption>{label}: {words}</figcaption></figure>'
    )
