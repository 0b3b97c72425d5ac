"""Parameters that select where training and featurizing run. This module does not import Ray, so that `check` stays fast."""

from typing import Literal

from pydantic import Field

from stages.common.config import Section


class SageMaker(Section):
    """The job on AWS that `kind: sagemaker` trains with."""

    stack: str = Field(pattern="^[a-z][a-z0-9-]{0,29}$", description="the CloudFormation stack with the job's bucket")
    region: str | None = Field(min_length=1, description="null: the region of the AWS settings in use")
    instance_type: str = Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$", description="type of the training instances")
    instance_count: int = Field(ge=1, le=100, description="instances that share each batch")
    pytorch: str = Field(pattern=r"^\d+\.\d+\.\d+$", description="version of SageMaker's training image")
    max_hours: int = Field(ge=1, le=120, description="hours after which the job is stopped")


class Engine(Section):
    """This machine's own processes, a Ray cluster's, or a job on SageMaker.

    Besides `kind`, `local` reads only `portable`, and `sagemaker` also its own table.
    """

    kind: Literal["local", "ray", "sagemaker"]
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
    sagemaker: SageMaker
    timeout: int = Field(ge=1, description="seconds to wait for the cluster, and for room for the workers")
