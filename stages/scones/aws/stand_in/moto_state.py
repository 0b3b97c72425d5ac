"""Read the definitions of functions and endpoints from moto's records."""

import json
from contextlib import suppress
from typing import Any

from moto.awslambda.models import lambda_backends
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.exceptions import MissingBucket
from moto.s3.models import s3_backends
from moto.sagemaker.models import sagemaker_backends

from stages.scones.aws.stand_in.endpoints import HostedEndpoint, Variant
from stages.scones.aws.stand_in.runtime import Code


def function(region: str, name: str) -> Code | None:
    """Return the function with this name or ARN, or None."""
    known = {found.function_name: found for found in lambda_backends[DEFAULT_ACCOUNT_ID][region].list_functions()}
    found = known.get(name.rsplit(":", 1)[-1])
    if found is None:
        return None
    environment = tuple(sorted((key, str(value)) for key, value in found.environment_vars.items()))
    arn = found.function_arn.removesuffix(":$LATEST")
    return Code(arn, found.code_sha_256, found.handler, int(found.timeout), environment, found.code_bytes)


def endpoint(region: str, name: str) -> HostedEndpoint | None:
    """Return the endpoint with this name, or None."""
    known = sagemaker_backends[DEFAULT_ACCOUNT_ID][region]
    found = known.endpoints.get(name)
    return _endpoint(known, found) if found else None


def _endpoint(known: Any, found: Any) -> HostedEndpoint:
    config = known.endpoint_configs[found.endpoint_config_name]
    models = {model.model_name: model for model in known._models.values()}
    variants = []
    for variant in config.production_variants:
        address = models[variant["ModelName"]].primary_container["ModelDataUrl"]
        weight = float(variant.get("InitialVariantWeight", 1))
        variants.append(Variant(variant["VariantName"], weight, address, _object(address).etag))
    return HostedEndpoint(found.endpoint_name, tuple(variants), json.dumps(config.data_capture_config))


def functions() -> set[str]:
    """Return the ARNs of all functions."""
    found = [one for backend in lambda_backends[DEFAULT_ACCOUNT_ID].values() for one in backend.list_functions()]
    return {one.function_arn.removesuffix(":$LATEST") for one in found}


def endpoints() -> list[HostedEndpoint]:
    """Return all endpoints whose models exist."""
    complete = []
    for known in sagemaker_backends[DEFAULT_ACCOUNT_ID].values():
        for found in list(known.endpoints.values()):
            with suppress(KeyError, MissingBucket):
                complete.append(_endpoint(known, found))
    return complete


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
    bucket, key = _bucket_and_key(address)
    with suppress(MissingBucket):
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(bucket, key, content)
