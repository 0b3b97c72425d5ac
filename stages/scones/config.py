"""Parameters of scones: names, ranges, choices, units. Their values are in params.yaml."""

import difflib
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from stages.common import config
from stages.common.config import VERSION, Section
from stages.common.sources.source import SourceSettings
from stages.common.training_settings import Ensemble, Known, Residual, TrainingSettings, Transfer

# CIFAR-100's 100 fine labels in the order of their numbers: https://www.cs.toronto.edu/~kriz/cifar.html
FINE_LABELS = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
    caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
    forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
    mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
    possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
    sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
    willow_tree wolf woman worm
""".split()  # noqa: SIM905 (a list would be formatted into a hundred lines)


def _known(name: str) -> str:
    if name not in FINE_LABELS:
        closest = difflib.get_close_matches(name, FINE_LABELS, n=8, cutoff=0)
        raise ValueError(f"one of CIFAR-100's {len(FINE_LABELS)} fine labels, such as {', '.join(closest)}")
    return name


class Data(SourceSettings):
    """The group `data.scones`. prepare and featurize read it."""

    classes: list[Annotated[str, AfterValidator(_known)]] = Field(
        min_length=2,
        description="fine labels of CIFAR-100; a picture's label is its class's index in this list, from 0",
    )
    max_refused: float = Field(ge=0, le=1, description="fraction of refused pictures above which prepare fails")
    max_near_copies: float = Field(
        ge=0, le=1, description="fraction of test pictures that look like a training picture, above which prepare fails"
    )
    valid_fraction: float = Field(
        gt=0, lt=0.5, description="fraction of each class's training pictures held out for validation"
    )
    test_fraction: float = Field(
        gt=0, lt=0.5, description="fraction of each class's pictures for the test, if the source has no test set"
    )
    side: int = Field(
        ge=32, le=224, description="side of the stored square pictures in pixels; larger ones are reduced to it"
    )
    seed: int = Field(ge=0, lt=2**31, description="seed for choosing the validation pictures, and test_fraction's")

    @field_validator("classes")
    @classmethod
    def each_once(cls, classes: list[str]) -> list[str]:
        if len(set(classes)) != len(classes):
            raise ValueError("each class only once")
        return classes


class Augmentation(Section):
    """Limits of the random changes to training pictures. Each picture gets its own amounts."""

    rotation: float = Field(ge=0, le=180, description="degrees, plus or minus")
    scale: float = Field(ge=0, le=1, description="log of the factor on the size, plus or minus")
    shift: float = Field(ge=0, le=16, description="pixels of 32, plus or minus, along each side")
    flip: bool = Field(description="mirror each picture with probability 0.5")
    brightness: float = Field(ge=0, lt=1, description="added to all pixels (1 is white), plus or minus")
    contrast: float = Field(ge=0, lt=1, description="factor on the distance from the mean: 1 plus or minus it")
    saturation: float = Field(ge=0, lt=1, description="factor on the distance from grey: 1 plus or minus it")
    erase: float = Field(ge=0, lt=1, description="side of the greyed square, as a fraction of the image's side")


class Train(TrainingSettings):
    """The group `scones`. train reads it. Of the networks' groups, only the chosen network's is used."""

    network: Literal["residual", "transfer", "ensemble"]
    residual: Residual
    transfer: Transfer
    ensemble: Ensemble
    views: Literal["one", "flip"] = Field(description="predict from the picture only, or from it and its mirror image")
    augmentation: Augmentation
    known: Known

    @property
    def chosen(self) -> Residual | Transfer:
        """The chosen network's own group. An ensemble has none, but each of its members."""
        found: Residual | Transfer = getattr(self, self.network)
        return found


class Challenger(Section):
    """A second model behind the same endpoint."""

    archive: str = Field(min_length=1, description="path of its model.tar.gz")
    weight: float = Field(gt=0, description="its fraction of the requests is its weight divided by both models' sum")


class Serverless(Section):
    """An endpoint without instances: no cost while it is idle, but it captures nothing and takes no challenger."""

    memory: Literal[1024, 2048, 3072, 4096, 5120, 6144] = Field(description="MiB")
    concurrency: int = Field(ge=1, le=200, description="requests at a time; more are refused")


class Scaling(Section):
    """How each variant grows with its requests, from `instance_count` on."""

    max_instances: int = Field(ge=2, le=100, description="up to which a variant grows")
    invocations: int = Field(ge=1, description="requests a minute of one instance; more add instances")


class Update(Section):
    """How a changed model takes over the endpoint's requests, and what brings the former one back."""

    traffic: Literal["all_at_once", "canary", "linear"] = Field(
        description="all_at_once; canary: first to some instances, then to all; linear: in equal steps"
    )
    fraction: float = Field(gt=0, le=0.5, description="of the instances, for the canary or each step; at least one")
    wait: int = Field(ge=0, le=3600, description="seconds for which the alarms are watched after each step")
    errors: float = Field(
        ge=0, le=1, description="fraction of requests that fail, above which the former model comes back"
    )
    latency: float = Field(gt=0, le=60, description="seconds that 90 % of the requests may take")


class Network(Section):
    """The network of the functions and the model. From it they must reach S3, SageMaker, SNS, CloudWatch and ECR."""

    subnets: list[str] = Field(min_length=1, description="subnet-...")
    security_groups: list[str] = Field(min_length=1, max_length=5, description="sg-...")


DAYS = Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]
"""Retention periods that CloudWatch knows."""


class Evaluate(Section):
    """The group `evaluate.scones`: read by evaluate and deploy."""

    threshold: float = Field(gt=0, le=1, description="an execution with a lower confidence fails")


class Film(Section):
    """The film of `stages.loop play`: a stream of pictures over some days, at first by day, then by night."""

    days: int = Field(ge=3, le=60, description="days that are played")
    nightfall: int = Field(ge=1, le=59, description="days until the camera takes its pictures at night")
    pictures: int = Field(ge=10, le=1000, description="pictures on each day")
    seed: int = Field(ge=0, lt=2**31, description="seed of the pictures")

    @model_validator(mode="after")
    def fits(self) -> "Film":
        if self.nightfall > self.days - 2:
            raise ValueError(f"nightfall at most {self.days - 2}, two days before the end")
        return self


class Loop(Section):
    """The group `loop.scones`: when to retrain, and when a candidate is taken. `stages.loop` reads it."""

    hours: int = Field(ge=1, le=720, description="watch reads the requests of the last hours")
    records: int = Field(ge=10, description="fewer requests are not judged")
    drift: float = Field(gt=0, le=1, description="Kolmogorov-Smirnov statistic, above which a retraining is proposed")
    low_confidence: float = Field(
        gt=0,
        le=1,
        description="fraction of answers below the threshold or unknown, above which a retraining is proposed",
    )
    accuracy: float = Field(ge=0, lt=1, description="estimated accuracy, below which a retraining is proposed")
    sample: float = Field(
        gt=0, lt=1, description="fraction of the stream that is held out: it judges candidates and is never trained on"
    )
    labelled: int = Field(ge=1, description="labelled pictures to train with, before a retraining")
    judged: int = Field(ge=10, description="labelled pictures that are held out, before a retraining")
    promote: Literal["ask", "automatic"] = Field(description="whether a person confirms a candidate that has passed")
    film: Film


class Deploy(Section):
    """The group `deploy.scones`. deploy reads it."""

    version: str | None = Field(pattern=VERSION, description="a released version; null: the current export")
    stack: str = Field(pattern="^[a-z][a-z0-9-]{0,19}$", description="the CloudFormation stack; names begin with it")
    region: str | None = Field(min_length=1, description="null: the region from the usual AWS settings")
    executions: int = Field(ge=1, le=10_000, description="test cases to execute")
    concurrency: int = Field(ge=1, le=50, description="concurrent executions")
    seed: int = Field(ge=0, lt=2**31, description="seed for choosing the test cases")
    instance_type: str = Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$", description="instance type of the endpoint")
    instance_count: int = Field(ge=1, le=100, description="instances of each variant")
    pytorch: str = Field(pattern=r"^\d+\.\d+\.\d+$", description="version of SageMaker's inference image")
    image: str | None = Field(
        pattern=r"^\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/[a-z0-9._/-]+(:[\w.-]+|@sha256:[0-9a-f]{64})$",
        description="URI of your own image in ECR, which keeps the container's contract; null: SageMaker's for pytorch",
    )
    serverless: Serverless | None
    scaling: Scaling | None
    update: Update
    weight: float = Field(gt=0, description="weight of the exported model if there is a challenger")
    challenger: Challenger | None
    endpoint_timeout: int = Field(ge=1, le=60, description="seconds that the workflow waits for an answer")
    low_confidence_share: float = Field(ge=0, le=1, description="alarm above this fraction of an hour's pictures")
    capture_percentage: int = Field(ge=0, le=100, description="of the requests")
    capture_days: int = Field(ge=1, le=3650, description="days for which captured requests are kept")
    log_days: DAYS = Field(description="days for which logs are kept")
    email: str | None = Field(min_length=3, description="address for alarms and the digest; null: none")
    digest_hours: int = Field(ge=2, le=168, description="hours between two digests of the executions")
    watch_hours: int | None = Field(
        ge=2, le=168, description="hours between two runs of the function `watch`; null: no schedule"
    )
    execute_uploads: bool = Field(description="each picture that is uploaded to pictures/ starts an execution")
    protect: bool = Field(description="the stacks can be deleted only by `destroy`")
    kms_key: str | None = Field(
        pattern="^arn:", description="ARN of a key for data, logs and messages; null: AWS's own"
    )
    network: Network | None
    permissions_boundary: str | None = Field(
        pattern="^arn:", description="ARN of a policy that limits all roles; null: none"
    )
    xray: bool = Field(description="trace executions and functions")
    tags: dict[str, str] = Field(max_length=40, description="of everything that can have tags")
    workflow: str | None = Field(
        min_length=1, description="folder with your own state machine and handlers; null: this project's workflow"
    )

    @model_validator(mode="after")
    def fits(self) -> "Deploy":
        if self.serverless and self.challenger:
            raise ValueError("challenger: null, as serverless endpoints have one model")
        if self.serverless and self.scaling:
            raise ValueError("scaling: null, as serverless endpoints grow by themselves")
        if self.serverless and self.network:
            raise ValueError("network: null, as serverless endpoints run in none of your networks")
        if self.scaling and self.scaling.max_instances <= self.instance_count:
            raise ValueError(f"scaling.max_instances above instance_count = {self.instance_count}")
        if self.update.traffic != "all_at_once" and self.instance_count < 2:
            raise ValueError(f"update.traffic: all_at_once, or instance_count of at least 2 for {self.update.traffic}")
        return self

    @property
    def captures(self) -> bool:
        """Whether each request is captured."""
        return self.serverless is None and self.capture_percentage == 100


class WorkflowSettings(Deploy, Evaluate):
    """The settings of a deployment: the group `deploy.scones` and the threshold."""


def workflow_settings(parameters: dict[str, Any] | None = None) -> WorkflowSettings:
    """Return both groups of ``parameters``, by default those of params.yaml. Raises InputError."""
    groups = config.load("deploy.scones", Deploy, parameters), config.load("evaluate.scones", Evaluate, parameters)
    return WorkflowSettings(**{name: value for group in groups for name, value in group})
