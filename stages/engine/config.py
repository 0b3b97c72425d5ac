"""Settings of where training and featurizing run. This module does not import Ray, so that `check` stays fast."""

from typing import Literal

from pydantic import Field

from stages.common.config import Section


class Engine(Section):
    """Where stages run: processes on this machine (`local`, which uses only `kind` and `portable`), or a Ray cluster.

    `scones.engine: sagemaker` has priority: that training is a job on AWS.
    """

    kind: Literal["local", "ray"]
    address: str | None = Field(
        pattern=r"^[^\s:/]+:\d+$",
        description="host:port of a Ray cluster that includes this machine; null: a temporary one on this machine, while the stage runs",
    )
    workers: int = Field(ge=1, le=10_000, description="processes that share the work")
    cpus_per_worker: int = Field(ge=1, le=1024, description="cores for each worker")
    gpus_per_worker: int = Field(ge=0, le=64, description="GPUs for each worker")
    storage: str | None = Field(
        min_length=1,
        description="a folder or URL (s3://bucket/prefix) that all nodes can reach; null: this working folder, at the same path on each",
    )
    portable: bool = Field(
        description="the same bytes on every x86-64 processor with AVX2; false: each processor's fastest code"
    )
    timeout: int = Field(ge=1, description="seconds to wait for the cluster, and for room for the workers")
