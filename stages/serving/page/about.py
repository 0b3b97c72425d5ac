"""The text about a tab's model: its training data, its metric and its version."""

from html import escape

from stages import projects
from stages.serving.exports import Export
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
    metrics = export.metrics
    if "accuracy" in metrics:
        return f"Test accuracy: {percent(metrics['accuracy'])}."
    if "rmsle_test" in metrics:
        return f"Error (RMSLE) on the test hours: {metrics['rmsle_test']:.3f}."
    return f"Error (RMSLE) on held-out days: {metrics['rmsle_valid']:.3f}."
