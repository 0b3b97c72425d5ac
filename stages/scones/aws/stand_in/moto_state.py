"""Read the definitions of functions and endpoints from moto's records."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import lambda_backends
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.utils import utcnow
from moto.s3.exceptions import MissingBucket
from moto.s3.models import s3_backends
from moto.sagemaker.models import sagemaker_backends

from stages.scones.aws.stand_in.fleet import HostedEndpoint, ProductionVariant
from stages.scones.aws.stand_in.runtime import Code


def function(region: str, name: str, qualifier: str | None = None) -> Code | None:
    """Return the function with this name or ARN, of which either may end in a version or an alias, or None.

    A version in the name or the ARN takes precedence over ``qualifier``, as moto has it.
    """
    name = re.sub(r"^\d{12}:function:", "", name)  # the partial ARN that Lambda takes, too
    try:
        found = lambda_backends[DEFAULT_ACCOUNT_ID][region].get_function(name, qualifier)
    except LambdaClientError:
        return None
    environment = tuple(sorted((key, str(value)) for key, value in found.environment_vars.items()))
    limits = int(found.timeout), int(found.memory_size)
    return Code(_arn(found), found.code_sha_256, found.handler, *limits, environment, found.code_bytes)


def _arn(found: Any) -> str:
    """Return a function's ARN with its version."""
    return ":".join([*found.function_arn.split(":")[:7], str(found.version)])


def functions() -> set[str]:
    """Return the ARNs of all versions of all functions."""
    backends = lambda_backends[DEFAULT_ACCOUNT_ID].values()
    return {_arn(one) for backend in backends for one in backend.list_functions("ALL")}


def endpoint(region: str, name: str) -> HostedEndpoint | None:
    """Return the endpoint with this name, or None."""
    found = sagemaker_backends[DEFAULT_ACCOUNT_ID][region].endpoints.get(name)
    return configured(region, name, found.endpoint_config_name) if found else None


def configured(region: str, name: str, config_name: str) -> HostedEndpoint:
    """Return the definition of an endpoint of this name with this configuration. Raise KeyError if something is missing."""
    known = sagemaker_backends[DEFAULT_ACCOUNT_ID][region]
    config = known.endpoint_configs[config_name]
    models = {model.model_name: model for model in known._models.values()}
    variants = []
    for variant in config.production_variants:
        address = models[variant["ModelName"]].primary_container["ModelDataUrl"]
        variants.append(ProductionVariant(variant["VariantName"], address, _object(address).etag))
    return HostedEndpoint(region, name, tuple(variants), json.dumps(config.data_capture_config))


def variants(region: str, config_name: str) -> list[dict[str, Any]]:
    """Return the variants of an endpoint configuration. Raise KeyError if there is no such configuration."""
    configs = sagemaker_backends[DEFAULT_ACCOUNT_ID][region].endpoint_configs
    found: list[dict[str, Any]] = configs[config_name].production_variants
    return found


def weights(region: str, name: str) -> dict[str, float]:
    """Return the current weights of an endpoint's variants."""
    found = sagemaker_backends[DEFAULT_ACCOUNT_ID][region].endpoints[name]
    current = {one["VariantName"]: one.get("CurrentWeight") for one in found.production_variants}
    return {
        variant: weight if current.get(variant) is None else float(current[variant])
        for variant, weight in first_weights(region, found.endpoint_config_name).items()
    }


def first_weights(region: str, config_name: str) -> dict[str, float]:
    """Return the weights of variants in an endpoint configuration."""
    # moto leaves out a weight of 0 where it means 0, and where none was given, which means 1.
    given = variants(region, config_name)
    return {one["VariantName"]: float(one.get("InitialVariantWeight", 1)) for one in given}


@contextmanager
def updating(region: str, name: str, config_name: str) -> Iterator[Callable[[str], None]]:
    """Show the endpoint's status as `Updating` during the block. Yields a function to call with the failure's reason, or ""."""
    backend = sagemaker_backends[DEFAULT_ACCOUNT_ID][region]
    found = backend.endpoints[name]
    found.endpoint_status = "Updating"

    def end(failure: str) -> None:
        found.failure_reason = failure or None
        if not failure:
            config = backend.endpoint_configs[config_name]
            found.endpoint_config_name = config_name
            found.production_variants = found._process_production_variants(config.production_variants)
            found.data_capture_config = config.data_capture_config
        found.last_modified_time = utcnow()

    try:
        yield end
    finally:
        found.endpoint_status = "InService"


def endpoints() -> Iterator[HostedEndpoint]:
    """Yield all endpoints whose models exist."""
    for region, known in sagemaker_backends[DEFAULT_ACCOUNT_ID].items():
        for name in list(known.endpoints):
            with suppress(KeyError, MissingBucket):
                if found := endpoint(region, name):
                    yield found


def _bucket_and_key(address: str) -> tuple[str, str]:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return bucket, key


def _object(address: str) -> Any:
    found = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].get_object(*_bucket_and_key(address))
    if found is None:
        raise KeyError(address)
    return found


def read(address: str) -> bytes:
    """Return the object at an s3:// address."""
    content: bytes = _object(address).value
    return content


def write(address: str, content: bytes) -> None:
    """Write the object to an s3:// address, unless its bucket is gone."""
    with suppress(MissingBucket):
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(*_bucket_and_key(address), content)
