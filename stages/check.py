"""Check params.yaml, and the cluster and the sample that it names, before any other stage starts.

DVC deletes a stage's outputs before it runs the stage. A stage that refused its own parameters would already have lost
its last good result, so this stage checks them first. Its output is always the same bytes: after a valid change, DVC
reruns only the stages that read the changed parameters.
"""

import os
import re
import subprocess
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, create_model

from stages import projects
from stages.common import config, files
from stages.common.errors import InputError
from stages.common.program import requires, run
from stages.common.sources import source
from stages.engine.config import Engine

OUTPUT = Path("reports/parameters.txt")


class Data(config.Section):
    """Where the data comes from and how it is split: read by prepare and featurize. Each project has a group in it."""

    source: str = Field(min_length=1, description="sample, official, a path or a URL; for every project")


class Evaluate(config.Section):
    """How results are judged: read by evaluate. A project may have a group in it."""


class Deploy(config.Section):
    """How exported models are served: read by deploy. Each project has a group in it."""

    target: Literal["local", "aws"]


class Loop(config.Section):
    """When deployed models are trained again. A project may have a group in it."""


class Common(config.Section):
    """The groups of params.yaml that are not a project's own."""

    data: Data
    engine: Engine
    evaluate: Evaluate
    deploy: Deploy
    loop: Loop


def parameters_model() -> type[Common]:
    """Return the model of the whole params.yaml, with the classes of each project's `config.py`."""
    configs = {name: projects.config(name) for name in projects.names()}

    def groups(kind: str) -> dict[str, Any]:
        return {name: (getattr(module, kind), ...) for name, module in configs.items() if hasattr(module, kind)}

    common: dict[str, Any] = {
        base.__name__.lower(): (create_model(base.__name__, __base__=base, **groups(base.__name__)), ...)
        for base in (Data, Evaluate, Deploy, Loop)
    }
    return create_model("Parameters", __base__=Common, **common, **groups("Train"))


def check_processor(known: Path = Path("/proc/cpuinfo")) -> None:
    """Raise InputError on an x86 processor without AVX2 (made before 2013).

    The libraries, limited to AVX2 (`stages/__init__.py`), would crash on it.
    """
    flags = re.search(r"^flags\s*:(.*)$", known.read_text(), re.MULTILINE) if known.exists() else None
    if flags and "avx2" not in flags[1].split():
        raise InputError("engine.portable = true needs AVX2, which this processor does not have: set it to false")


def check_region(parameters: Common) -> None:
    """Raise InputError if models are to be deployed to AWS, and no region is set."""
    if parameters.deploy.target == "aws":
        from stages.engine.aws.clients import region  # and with it boto3

        for name in projects.names():
            if hasattr(settings := getattr(parameters.deploy, name), "region"):
                region(settings.region, f"deploy.{name}.region")


def taken_back(read: dict[str, Any]) -> str:
    """Undo `dvc exp run -S deploy.target=aws` after a failure, because DVC does not. Return a sentence about it, or "".

    Do nothing if params.yaml has other uncommitted changes, so that these are not lost.
    """
    committed = subprocess.run(["git", "show", f"HEAD:./{config.PARAMETERS}"], capture_output=True, check=False)
    if committed.returncode or "DVC_EXP_NAME" not in os.environ:
        return ""
    former: dict[str, Any] = config.parse(committed.stdout)
    if former == read or {**former, "deploy": {**former["deploy"], "target": "aws"}} != read:
        return ""
    with files.new_file(config.PARAMETERS) as partial:
        partial.write_bytes(committed.stdout)
    return f". {config.PARAMETERS} is as committed again"


def main() -> None:
    read = config.read()
    # git looks at a file's size and second. If DVC sets a value of the same length just after git looked, and the run then
    # fails, `git checkout params.yaml` would keep that value.
    config.PARAMETERS.touch()
    parameters = config.check("", parameters_model(), read)
    if parameters.engine.portable:
        check_processor()
    source.check("data.source", parameters.data.source)
    for name in projects.names():
        data = getattr(parameters.data, name)
        source.check(f"data.{name}.source", data.source)
        projects.check(name, data, getattr(parameters, name), data.source or parameters.data.source)
    try:
        check_region(parameters)
    except InputError as error:
        raise InputError(f"{error}{taken_back(read)}") from None
    if parameters.engine.kind == "sagemaker":
        with requires("aws", "engine.kind = sagemaker"):
            import sagemaker.train  # noqa: F401  (a missing package is reported before any stage starts)
    if parameters.engine.kind == "ray":
        with requires("ray", "engine.kind = ray"):
            from stages.engine.ray import cluster  # and with it Ray

        cluster.check(parameters.engine)
    with files.new_file(OUTPUT) as partial:
        partial.write_text("params.yaml is valid\n")


if __name__ == "__main__":
    run(main)
