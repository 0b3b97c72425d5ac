"""Patch moto 5.2.5 in this process where the template or the SDK need other behaviour. Each patch states its reason."""

import functools
from collections.abc import Callable
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
    CloudFormationBackend.delete_stack = _unless_protected(CloudFormationBackend.delete_stack)
    parsing.clean_json = _without_no_values(parsing.clean_json)
    FakeEndpoint.cloudformation_name_type = staticmethod(lambda: "EndpointName")  # moto makes up a name for each
    FakeEndpoint.update_from_cloudformation_json = classmethod(_in_place(update_endpoint))
    FakeEndpoint.response_object = property(_with_capture(FakeEndpoint.response_object.fget))
    # moto knows no newer instance types, and takes a serverless endpoint's memory only as a number, which no parameter is.
    FakeEndpointConfig.validate_production_variants = lambda config, variants: None
    for described in (Model, FakeEndpointConfig):
        described.response_object = property(_without_empty_groups(described.response_object.fget))
    # moto lists its own folders for each request.
    backends.list_of_moto_modules = functools.cache(lambda modules=backends.list_of_moto_modules: list(modules()))


def _in_place(updating: UpdateEndpoint) -> Any:
    """Update an endpoint while it answers. moto deletes it and creates another one."""

    def update(
        cls: Any,
        original_resource: Any,
        new_resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
    ) -> Any:
        wanted = cloudformation_json["Properties"]
        name, config = original_resource.endpoint_name, wanted["EndpointConfigName"]
        if failure := updating(region_name, name, config, wanted.get("DeploymentConfig") or {}):
            raise RuntimeError(f"the update of {name} was rolled back: {failure}")
        return original_resource

    return update


def _parse_template(stack: Any) -> None:
    """Translate SAM, which moto does not support, with AWS's own translator. `get_template` still returns the original."""
    from samtranslator.translator.transform import transform

    template = Stack.parse_template(stack.template)
    if "Transform" in template:
        template = transform(template, {}, _NoPolicies())
    stack.template_dict = template


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


def _unless_protected(deleting: Any) -> Any:
    """Refuse to delete a protected stack. moto deletes it."""

    def delete(backend: Any, name: str) -> None:
        found = next((one for one in backend.stacks.values() if name in (one.name, one.stack_id)), None)
        if found and found.enable_termination_protection:
            raise ValidationError(message=f"Stack [{name}] cannot be deleted while TerminationProtection is enabled")
        deleting(backend, name)

    return delete


class _NoPolicies:
    """The template names no managed policy."""

    def load(self) -> dict[str, str]:
        return {}


def _without_no_values(cleaning: Any) -> Any:
    """Remove the None that moto leaves in a list in place of AWS::NoValue."""

    def clean(value: Any, resources: Any) -> Any:
        cleaned = cleaning(value, resources)
        return [one for one in cleaned if one is not None] if isinstance(value, list) else cleaned

    return clean


def _with_capture(describing: Any) -> Any:
    """Add the status of an endpoint's data capture, which SageMaker's SDK expects. moto has only its configuration."""

    def describe(endpoint: Any) -> dict[str, Any]:
        response: dict[str, Any] = describing(endpoint)
        config = response.pop("DataCaptureConfig", None)
        if config:
            response["DataCaptureConfig"] = {
                "EnableCapture": config["EnableCapture"],
                "CaptureStatus": "Started" if config["EnableCapture"] else "Stopped",
                "CurrentSamplingPercentage": config["InitialSamplingPercentage"],
                "DestinationS3Uri": config["DestinationS3Uri"],
                "KmsKeyId": config.get("KmsKeyId", ""),
            }
        return response

    return describe


def _without_empty_groups(describing: Any) -> Any:
    """Remove empty groups, which the SDK refuses. moto has them for a model's network or asynchronous inference if these
    were not configured."""

    def describe(described: Any) -> dict[str, Any]:
        return {name: value for name, value in describing(described).items() if value != {}}

    return describe
