"""Model cards: what a model is, what it was trained on, how well it performs and where it fails.

A card is Markdown with YAML in front, as the Hugging Face Hub reads it. `card_form.md` is the form for all projects;
the text of one project is in its `stages/<project>/card.md`. The same inputs give the same bytes.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import jinja2
import numpy as np

from stages.common import config, files, markdown
from stages.common.results import classification, metrics

FORM = Path(__file__).with_name("card_form.md")


def write(
    path: Path,
    text: Path,
    project: str,
    groups: Mapping[str, config.Section],
    examples: Mapping[str, int],
    initial: Sequence[Mapping[str, Any]] = (),
    **about: object,
) -> None:
    """Write the card to ``path``, with the metrics that evaluate wrote to ``reports/<project>``.

    ``text`` is the project's own part. ``groups`` maps keys of params.yaml to parameters, and ``examples`` each part of
    the data to its number of examples. ``initial`` are weights that the user brought, see `own_weights`. ``about`` has
    the other variables of ``text``: at least ``mistakes``, as `confusions` returns them.
    """
    reports = Path("reports", project)
    measured = files.read_json(files.require(reports / "metrics.json", f"evaluate@{project}"))
    measured |= files.read_json(files.require(reports / "details.json", f"evaluate@{project}"))
    environment = jinja2.Environment(  # noqa: S701 (Markdown: its own filters escape)
        loader=jinja2.FileSystemLoader([text.parent, FORM.parent]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"escaped": markdown.escaped, "code": markdown.code}
    content = environment.get_template(text.name).render(
        project=project,
        source=measured["data"],
        settings=groups[project],
        figures=[(name, metric, measured[name]) for name, metric in metrics.of(project).items() if name in measured],
        parameters={
            name: json.dumps(value)
            for name, value in config.flat({key: chosen(group) for key, group in groups.items()}).items()
        },
        examples=examples,
        initial=initial,
        **about,
    )
    path.write_text(content, encoding="utf-8")


def chosen(group: config.Section) -> dict[str, Any]:
    """Return the parameters of ``group`` that were in effect.

    Of tables to choose among, these are only those that it or a member of its ensemble chooses.
    """
    given = group.model_dump()
    values = dict(given)
    changes = given["ensemble"]["members"] if given.get("network") == "ensemble" else []
    for name, field in type(group).model_fields.items():
        named = given[name] if isinstance(given[name], list) else [given[name]]
        in_effect = [*named, *(change[name] for change in changes if name in change)]
        for choice in _choices(field.annotation):
            if choice not in in_effect:
                values.pop(str(choice), None)
    values.pop("source", None)  # the card shows it elsewhere
    return values


def _choices(annotation: object) -> list[object]:
    """Return the allowed strings of a type like ``Literal["a", "b"]`` or ``list[Literal["a", "b"]]``."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for argument in get_args(annotation) for choice in _choices(argument)]


def own_weights(networks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the facts about the user's own weights from the descriptions of ``networks``, which train wrote."""
    return [about for network in networks if (about := network["initial"])]


def confusions(
    probabilities: classification.Probabilities, labels: classification.Labels, classes: Sequence[str], count: int = 5
) -> list[str]:
    """Return up to ``count`` most frequent mistakes on the test set, such as `8 taken for 1: 5 of 36`."""
    counts = classification.confusion_matrix(labels, probabilities.argmax(1), len(classes))
    images = counts.sum(1)
    np.fill_diagonal(counts, 0)
    worst = np.argsort(-counts, axis=None, kind="stable")[:count]
    pairs = [divmod(int(index), len(classes)) for index in worst]
    return [f"{classes[a]} taken for {classes[p]}: {counts[a, p]} of {images[a]}" for a, p in pairs if counts[a, p]]
