"""The facts about a project that the server, its page and the comparisons show. Each project states its own in `about.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

PICTURES = ("image/*", "application/x-image", "application/octet-stream", "application/x-npy")
"""Content types of a model that takes pictures: files, or arrays of pixels."""


@dataclass(frozen=True)
class About:
    """The texts and facts about a project and its data."""

    title: str
    """Its name in GET /models."""
    tab: str
    """The title of its tab on the page: short enough for a phone to show all tabs."""
    sample: str
    """A description of the sample data, which follows "Trained on sample data:"."""
    official: str
    """A description of the official data, which follows "Trained on"."""
    accepts: tuple[str, ...]
    """Content types that the exported model takes. With text/csv it also answers in CSV."""
    several: bool = False
    """Whether the query parameter `several` makes it read all objects of a picture."""
    evidence: bool = False
    """Whether the query parameter `evidence` makes it return which regions of a picture support its answer."""
    tables: Mapping[str, str] = field(default_factory=dict)
    """Files that comparisons draw, by field of a run: history (epochs.csv), confusion (a matrix), leaderboard."""
    packages: tuple[str, ...] = ()
    """Packages that several stages import and that take seconds to import: `make repro` imports them once."""
    rank: int = 9
    """Position of its tab on the page, the lowest first."""
