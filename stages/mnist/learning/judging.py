"""Judge whether an answer can be trusted, from the outputs of the classifier and of the second network.

Exported models contain this file, so it imports only numpy.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Scores = NDArray[np.float64]


def odds(opinions: Floats) -> Scores:
    """Return the log-odds (N) that an image shows a digit at all. ``opinions`` (N, 11) are those of `second.Second`."""
    return opinions[:, -1].astype(np.float64)


def certainty(probabilities: Floats, opinions: Floats) -> Scores:
    """Return the logarithm (N) of the product of both networks' probabilities of the digit that the classifier reads.

    ``probabilities`` (N, 10) are the classifier's.
    """
    rows, read = np.arange(len(probabilities)), probabilities.argmax(1)
    own = probabilities[rows, read].astype(np.float64)
    return np.asarray(np.log(own) + opinions[rows, read], np.float64)
