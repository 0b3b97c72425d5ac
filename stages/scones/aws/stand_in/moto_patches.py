"""Patch moto 5.2.5 in this process where the template or the SDK need other behaviour. Each patch states its reason."""

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from moto import backends
from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import CloudFormationBackend, Stack
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.responses import ActionResult
from moto.moto_server import werkzeug_app
from moto.sagemaker.models import FakeEndpoint, FakeEndpointConfig, Model

from stages.scones.aws.stand_in import events, stack_updates
from stages.scones.aws.stand_in.extending import patch
from stages.scones.aws.stand_in.states import machines

UpdateEndpoint = Callable[[str, str, str, dict[str, Any]], str]
"""Moves an endpoint, given its region and name, to a configuration, as a DeploymentConfig says. Returns why it failed, or ""."""


def apply(update_endpoint: UpdateEndpoint, changed: Callable[[], None]) -> None:
    """Apply all patches. Call this once, before the first request. ``changed`` is called after each update of a stack."""
    machines.apply()
    stack_updates.apply(changed)
    events.apply()
    werkzeug_app.DISABLE_GLOBAL_CORS = True  # moto's CORS lets the pages of any website read its answers
    Stack._parse_template = _parse_template
    Stack.parameter_list = property(_as_text)
    CloudFormationResponse.update_termination_protection = _protect
    patch(CloudFormationBackend, "delete_stack", _unless_protected)
    patch(parsing, "clean_json", _without_no_values)
    FakeEndpoint.cloudformation_name_type = staticmethod(lambda: "EndpointName")  # moto makes up a name for each
    FakeEndpoint.update_from_cloudformation_json = staticmethod(functools.partial(_in_place, update_endpoint))
    patch(FakeEndpoint, "response_object", _with_capture)
    # moto knows no newer instance types, and takes a serverless endpoint's memory only as a number, which no parameter is.
    FakeEndpointConfig.validate_production_variants = lambda config, variants: None
    for described in (Model, FakeEndpointConfig):
        patch(described, "response_object", _without_empty_groups)
    # moto lists its own folders for each request.
    backends.list_of_moto_modules = functools.cache(lambda modules=backends.list_of_moto_modules: list(modules()))


def _in_place(
    updating: UpdateEndpoint, original_resource: Any, cloudformation_json: Any, region_name: str, **_: Any
) -> Any:
    """Update an endpoint while it answers. moto deletes it and creates another one."""
    wanted = cloudformation_json["Properties"]
    name, config = original_resource.endpoint_name, wanted["EndpointConfigName"]
    if failure := updating(region_name, name, config, wanted.get("DeploymentConfig") or {}):
        raise RuntimeError(f"the update of {name} was rolled back: {failure}")
    return original_resource


def _parse_template(stack: Any) -> None:
    """Translate SAM, which moto does not support, with AWS's own translator. `get_template` still returns the original."""
    from samtranslator.translator.transform import transform

    template = Stack.parse_template(stack.template)
    no_policies = SimpleNamespace(load=dict)  # the template names no managed policy
    stack.template_dict = transform(template, {}, no_policies) if "Transform" in template else template


def _as_text(stack: Any) -> list[dict[str, Any]]:
    """Describe a list among the parameters as it was given. moto describes it as Python prints it."""
    found = stack.resource_map.resolved_parameters
    texts = {name: ",".join(value) if isinstance(value, list) else value for name, value in found.items()}
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in texts.items()]


def _protect(response: Any) -> Any:
    """UpdateTerminationProtection, which moto lacks."""
    stack = response.cloudformation_backend.get_stack(response._get_param("StackName"))
    stack.enable_termination_protection = response._get_bool_param("EnableTerminationProtection")
    return ActionResult({"StackId": stack.stack_id})


def _unless_protected(deleting: Any, backend: Any, name: str) -> None:
    """Refuse to delete a protected stack. moto deletes it."""
    found = next((one for one in backend.stacks.values() if name in (one.name, one.stack_id)), None)
    if found and found.enable_termination_protection:
        raise ValidationError(message=f"Stack [{name}] cannot be deleted while TerminationProtection is enabled")
    deleting(backend, name)


def _without_no_values(cleaning: Any, value: Any, resources: Any) -> Any:
    """Remove the None that moto leaves in a list in place of AWS::NoValue."""
    cleaned = cleaning(value, resources)
    return [one for one in cleaned if one is not None] if isinstance(value, list) else cleaned


def _with_capture(describing: Any, endpoint: Any) -> dict[str, Any]:
    """Add the status of an endpoint's data capture, which SageMaker's SDK expects. moto has only its configuration."""
    response: dict[str, Any] = describing(endpoint)
    if config := response.pop("DataCaptureConfig", None):
        response["DataCaptureConfig"] = {
            "EnableCapture": config["EnableCapture"],
            "CaptureStatus": "Started" if config["EnableCapture"] else "Stopped",
            "CurrentSamplingPercentage": config["InitialSamplingPercentage"],
            "DestinationS3Uri": config["DestinationS3Uri"],
            "KmsKeyId": config.get("KmsKeyId", ""),
        }
    return response


def _without_empty_groups(describing: Any, described: Any) -> dict[str, Any]:
    """Remove empty groups, which the SDK refuses. moto has them for a model's network or asynchronous inference if these
    were not configured."""
    return {name: value for name, value in describing(described).items() if value != {}}
