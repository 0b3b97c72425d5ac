"""Model cards: what a model is, what it was trained on, how good it was measured to be and where it fails.

Markdown with YAML in front, as the Hugging Face Hub reads it. The form is `card_form.md`; what only one project can say of itself
stands in its `stages/<project>/card.md`. Same inputs, same bytes.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import jinja2
import numpy as np

from stages.common import config, files
from stages.common.results import classification, metrics

FORM = Path(__file__).with_name("card_form.md")


def write(
    path: Path,
    text: Path,
    project: str,
    groups: Mapping[str, config.Section],
    examples: Mapping[str, int],
    **about: object,
) -> None:
    """Write the card to ``path``, with the figures that evaluate left in ``reports/<project>``.

    ``text`` is the project's own part, ``groups`` the parameters by where they stand in params.yaml, ``examples`` the numbers of
    them in each part of the data. ``about`` is what ``text`` names besides: ``mistakes``, as `confusions` has them, at least.
    """
    reports = Path("reports", project)
    measured = files.read_json(files.require(reports / "metrics.json", f"evaluate@{project}"))
    measured |= files.read_json(files.require(reports / "details.json", f"evaluate@{project}"))
    environment = jinja2.Environment(  # noqa: S701 (Markdown: nothing to escape)
        loader=jinja2.FileSystemLoader([text.parent, FORM.parent]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    content = environment.get_template(text.name).render(
        project=project,
        source=measured["data"],
        settings=groups[project],
        figures=[
            (name, metric, measured[name]) for name, metric in metrics.read()[project].items() if name in measured
        ],
        parameters={name: value for key, group in groups.items() for name, value in flat(key, chosen(group)).items()},
        examples=examples,
        **about,
    )
    path.write_text(content, encoding="utf-8")


def chosen(group: config.Section) -> dict[str, Any]:
    """The parameters of ``group`` that counted: of tables among which another parameter chooses, those that it names."""
    given = group.model_dump()
    values = dict(given)
    for name, field in type(group).model_fields.items():
        named = given[name] if isinstance(given[name], list) else [given[name]]
        for choice in _choices(field.annotation):
            if choice not in named:
                values.pop(str(choice), None)
    values.pop("source", None)  # which has a place of its own in the card
    return values


def _choices(annotation: object) -> list[object]:
    """The strings among which a type like ``Literal["a", "b"]`` or ``list[Literal["a", "b"]]`` lets choose."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for argument in get_args(annotation) for choice in _choices(argument)]


def flat(key: str, values: Mapping[str, Any]) -> dict[str, str]:
    """``values`` by their dotted names, as JSON."""
    found: dict[str, str] = {}
    for name, value in values.items():
        found |= flat(f"{key}.{name}", value) if isinstance(value, dict) else {f"{key}.{name}": json.dumps(value)}
    return found


def confusions(
    probabilities: classification.Probabilities, labels: classification.Labels, classes: Sequence[str], count: int = 5
) -> list[str]:
    """The most frequent mistakes on the test set, as `8 taken for 1: 5 of 36`; fewer than ``count`` where there are not so many."""
    counts = classification.confusion_matrix(labels, probabilities.argmax(1), len(classes))
    images = counts.sum(1)
    np.fill_diagonal(counts, 0)
    worst = np.argsort(-counts, axis=None, kind="stable")[:count]
    pairs = [divmod(int(place), len(classes)) for place in worst]
    return [f"{classes[a]} taken for {classes[p]}: {counts[a, p]} of {images[a]}" for a, p in pairs if counts[a, p]]
