"""Where training and featurizing run. No Ray here: `check` reads it within a moment."""

from typing import Literal

from pydantic import Field

from stages.common.config import Section


class Engine(Section):
    """This machine's own processes, or a Ray cluster's. Only `kind` and `portable` count where that is local.

    `scones.engine: sagemaker` goes before it: that training is a job on AWS.
    """

    kind: Literal["local", "ray"]
    address: str | None = Field(
        pattern=r"^[^\s:/]+:\d+$",
        description="host:port of a Ray cluster that this machine is a node of; null: one on this machine alone, for as long as the stage runs",
    )
    workers: int = Field(ge=1, le=10_000, description="processes that share the work")
    cpus_per_worker: int = Field(ge=1, le=1024, description="cores that each of them is given")
    gpus_per_worker: int = Field(ge=0, le=64, description="GPUs that each of them is given")
    storage: str | None = Field(
        min_length=1,
        description="a folder or URL (s3://bucket/prefix) that all nodes reach; null: this working folder, at the same path on each",
    )
    portable: bool = Field(
        description="the same bytes on every x86-64 processor with AVX2; false: each processor's fastest code"
    )
    timeout: int = Field(ge=1, description="seconds to wait for the cluster, and for the workers' places on it")
