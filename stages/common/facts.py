"""The facts about a project that the server, its page and the comparisons show. Each project states its own in `about.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

PICTURES = ("image/*", "application/x-image", "application/octet-stream", "application/x-npy")
"""Content types of a model that takes pictures: files, or arrays of pixels."""


@dataclass(frozen=True)
class About:
    """What there is to say about a project and its data."""

    title: str
    """What GET /models calls it."""
    tab: str
    """The title of its tab on the page: short enough for a phone to show all tabs."""
    sample: str
    """What the sample data is: a phrase after "Trained on sample data:"."""
    official: str
    """What the official data is: a phrase after "Trained on"."""
    accepts: tuple[str, ...]
    """Content types that the exported model takes. With text/csv it also answers in CSV."""
    several: bool = False
    """Whether it reads several objects of one picture, with the query parameter of this name."""
    tables: Mapping[str, str] = field(default_factory=dict)
    """Files that comparisons draw, by field of a run: history (epochs.csv), confusion (a matrix), leaderboard."""
    packages: tuple[str, ...] = ()
    """What several of its stages import and takes seconds: `make repro` imports it once."""
    rank: int = 9
    """Position of its tab on the page, the lowest first."""
