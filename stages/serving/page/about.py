"""The text about a tab's model: its training data, its metric and its version."""

from html import escape

from stages import projects
from stages.serving.exports import SCORES, Export
from stages.serving.page.html import percent


def about(export: Export) -> str:
    """Return the text as HTML."""
    version = f'<code title="{escape(export.version)}">{escape(export.version[:12])}</code>'
    return f'<p class="about">Trained on {data(export)}. {score(export)} Model version {version}.</p>'


def data(export: Export) -> str:
    source = str(export.metrics["data"])
    if source == "sample":
        return f"<strong>sample data</strong>: {escape(projects.about(export.project).sample)}"
    if source == "official":
        return escape(projects.about(export.project).official)
    return f"the data of <code>{escape(source)}</code>"


def score(export: Export) -> str:
    name = next(name for name in SCORES if type(export.metrics.get(name)) in (int, float))
    value = export.metrics[name]
    if name == "accuracy":
        return f"Test accuracy: {percent(value)}."
    hours = "the test hours" if name == "rmsle_test" else "held-out days"
    return f"Error (RMSLE) on {hours}: {value:.3f}."
