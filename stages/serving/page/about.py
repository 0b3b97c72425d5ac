"""What a tab says of its model: the data it was trained on, how good it is, and which version of it answers."""

from html import escape

from stages import projects
from stages.serving.exports import Export
from stages.serving.page.html import percent


def about(export: Export) -> str:
    """Two sentences, as HTML."""
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
        return f"It names {percent(metrics['accuracy'])} of the test pictures rightly."
    if "rmsle_test" in metrics:
        return f"Its error (RMSLE) on the test hours is {metrics['rmsle_test']:.3f}."
    return f"Its error (RMSLE) on days that were held out is {metrics['rmsle_valid']:.3f}."
