"""Check params.yaml, and the cluster and the sample that it names, before any other stage starts.

DVC deletes a stage's outputs before it runs the stage. A stage that refused its own parameters would already have lost
its last good result, so this stage checks them first. Its output is always the same bytes: after a valid change, DVC
reruns only the stages that read the changed parameters.
"""

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from stages.bikes import config as bikes
from stages.common import config, files, sources
from stages.common.program import InputError, requires, run
from stages.common.vision import packaged
from stages.engine.config import Engine
from stages.landmarks import config as landmarks
from stages.mnist import config as mnist
from stages.mnist import digits
from stages.scones import config as scones

OUTPUT = Path("reports/parameters.txt")


class Data(config.Section):
    """Where the data comes from and how it is split. Read by prepare and featurize."""

    source: str = Field(min_length=1, description="sample, official, a path or a URL; for every project")
    bikes: bikes.Data
    mnist: mnist.Data
    landmarks: landmarks.Data
    scones: scones.Data


class Deploy(config.Section):
    """How exported models are served. Read by deploy."""

    target: Literal["local", "aws"]
    bikes: bikes.Deploy
    mnist: mnist.Deploy
    landmarks: landmarks.Deploy
    scones: scones.Deploy


class Parameters(config.Section):
    """All of params.yaml. A project's own group is read by its train stage."""

    data: Data
    engine: Engine
    bikes: bikes.Train
    mnist: mnist.Train
    landmarks: landmarks.Train
    scones: scones.Train
    deploy: Deploy


def check_processor(known: Path = Path("/proc/cpuinfo")) -> None:
    """Raise InputError on an x86 processor without AVX2 (made before 2013).

    The libraries, limited to AVX2 (`stages/__init__.py`), would crash on it.
    """
    flags = re.search(r"^flags\s*:(.*)$", known.read_text(), re.MULTILINE) if known.exists() else None
    if flags and "avx2" not in flags[1].split():
        raise InputError("engine.portable = true needs AVX2, which this processor does not have: set it to false")


def check_backbone(table: dict[str, Any]) -> None:
    """Raise InputError for a network, layers or weights that train would refuse. Downloads nothing."""
    if table["weights"] == "package":
        packaged.find(table["backbone"])
        if table["fine_tune"] in ("none", "all") and set(table.get("layers", [])) <= set(packaged.LAYERS):
            return  # these networks take images of any size, so this check can skip importing torch (seconds)
    from stages.common.vision import classifiers

    classifiers.build("transfer", table, 2, table.pop("weights"), download=False)


def main() -> None:
    parameters = config.check("", Parameters, config.read())
    bikes.check_together(parameters.data.bikes.features, parameters.bikes)
    if parameters.engine.portable:
        check_processor()
    sources.check("data.source", parameters.data.source)
    sources.check("data.bikes.source", parameters.data.bikes.source)
    sources.check("data.mnist.source", parameters.data.mnist.source)
    sources.check("data.landmarks.source", parameters.data.landmarks.source)
    sources.check("data.scones.source", parameters.data.scones.source)
    if (parameters.data.mnist.source or parameters.data.source) == "sample":
        digits.packed()
    rows: list[landmarks.Train | scones.Train] = [*landmarks.members(parameters.landmarks), parameters.scones]
    for settings in rows:
        if settings.network == "transfer":
            check_backbone(settings.transfer.model_dump())
    if parameters.scones.engine == "sagemaker":
        with requires("aws", "scones.engine = sagemaker"):
            import sagemaker.train  # noqa: F401
    if parameters.engine.kind == "ray":
        with requires("ray", "engine.kind = ray"):
            from stages.engine import cluster  # imports Ray

        cluster.check(parameters.engine)
    with files.new_file(OUTPUT) as partial:
        partial.write_text("params.yaml is valid\n")


if __name__ == "__main__":
    run(main)
