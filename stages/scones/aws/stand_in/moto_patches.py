"""Patch moto 5.2.5 in this process where the template or the SDK expect something else. Each patch states its reason."""

import functools
import sys
import threading
from typing import Any

import boto3
from botocore.config import Config
from moto import backends
from moto.cloudformation import parsing
from moto.cloudformation.models import Stack
from moto.core.config import default_user_config
from moto.moto_server import werkzeug_app
from moto.s3.models import s3_backends
from moto.sagemaker.models import FakeEndpoint, FakeEndpointConfig, Model
from moto.stepfunctions import models as state_machines

from stages.scones.aws.stand_in import grammar

KEPT = 50
"""Executions that keep their history. Older ones keep only their outcome, because memory would grow with each."""


def apply() -> None:
    """Apply all patches. Call this once, before the first request."""
    grammar.read_format_4()
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_sfn import (
        StateTaskServiceSfn,
    )
    from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
    from moto.stepfunctions.parser.models import StepFunctionsParserBackend, stepfunctions_parser_backends

    werkzeug_app.DISABLE_GLOBAL_CORS = True  # moto's CORS lets the pages of any website read its answers
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    # moto's CloudFormation makes state machines in the backend that does not execute them.
    state_machines.stepfunctions_backends = stepfunctions_parser_backends
    Stack._parse_template = _parse_template
    parsing.clean_json = _without_no_values(parsing.clean_json)
    creating = state_machines.StateMachine.create_from_cloudformation_json.__func__
    state_machines.StateMachine.create_from_cloudformation_json = classmethod(_with_definition(creating))
    StateTaskServiceSfn._normalise_parameters = _as_boto3_names(StateTaskServiceSfn._normalise_parameters)
    StateTaskServiceSfn._normalise_response = _as_states_names
    FakeEndpoint.response_object = property(_with_capture(FakeEndpoint.response_object.fget))
    for described in (Model, FakeEndpointConfig):
        described.response_object = property(_without_empty_groups(described.response_object.fget))
    starting = StepFunctionsParserBackend.start_execution
    StepFunctionsParserBackend.start_execution = _forgetful(starting)
    AmazonStateLanguageParser.parse = staticmethod(_reading_once(AmazonStateLanguageParser.parse))
    _give_states_clients()
    # moto lists its own folders for each request.
    backends.list_of_moto_modules = functools.cache(lambda modules=backends.list_of_moto_modules: list(modules()))


def _parse_template(stack: Any) -> None:
    """Translate SAM, which moto does not support, with AWS's own translator. `get_template` still returns the original."""
    from samtranslator.translator.transform import transform

    template = Stack.parse_template(stack.template)
    if "Transform" in template:
        template = transform(template, {}, _NoPolicies())
    stack.template_dict = template


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


def _with_definition(creating: Any) -> Any:
    """Read a definition from S3 and substitute the names in it. moto accepts a definition only as text."""

    def create(cls: Any, name: str, resource: Any, account_id: str, region_name: str, **more: Any) -> Any:
        properties = resource["Properties"]
        place = properties.pop("DefinitionS3Location", None)
        if place:
            text = s3_backends[account_id]["aws"].get_object(place["Bucket"], place["Key"]).value.decode()
            for key, value in properties.pop("DefinitionSubstitutions", {}).items():
                text = text.replace(f"${{{key}}}", str(value))
            properties["DefinitionString"] = text
        return creating(cls, name, resource, account_id, region_name, **more)

    return create


def _forgetful(starting: Any) -> Any:
    """Drop the history of old executions. moto keeps it forever."""
    from moto.stepfunctions.parser import utils

    def start(backend: Any, state_machine_arn: str, *arguments: Any, **named: Any) -> Any:
        execution = starting(backend, state_machine_arn, *arguments, **named)
        utils.TMP_THREADS.clear()
        machine = backend.describe_state_machine(state_machine_arn)
        ended = [one for one in machine.executions if one.stop_date]
        for old in ended[:-KEPT]:
            old.exec_worker.env, old.state_machine = None, machine  # each has a copy of the machine
        return execution

    return start


def _reading_once(parsing: Any) -> Any:
    """Parse each definition once. moto parses it for each execution, which takes ten times as long as the rest of it.

    antlr's tree is kept. Nothing changes it: the states are made from it anew for each execution.
    """
    from moto.stepfunctions.parser.asl.parse.preprocessor import Preprocessor

    tree = functools.lru_cache(maxsize=16)(lambda definition: parsing(definition)[1])

    def parse(definition: str) -> tuple[Any, Any]:
        known = tree(definition)
        return Preprocessor().visit(known), known

    return parse


def _as_boto3_names(normalising: Any) -> Any:
    """Rename parameters for boto3: states have StateMachineArn, boto3 expects stateMachineArn. moto passes it unchanged."""

    def normalise(task: Any, parameters: dict[str, Any], *arguments: Any, **named: Any) -> None:
        normalising(task, parameters, *arguments, **named)
        for name in list(parameters):
            parameters[name[0].lower() + name[1:]] = parameters.pop(name)

    return normalise


def _as_states_names(task: Any, response: dict[str, Any], *arguments: Any, **named: Any) -> None:
    """Rename boto3's results for states: boto3 returns output, states read Output."""
    for name in list(response):
        response[name[0].upper() + name[1:]] = response.pop(name)


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


def _give_states_clients() -> None:
    """Keep clients for states. moto makes one for each call of a state, which is slow, and with a fixed access key."""
    from moto.stepfunctions.parser.asl.component.common.timeouts.timeout import TimeoutSeconds
    from moto.stepfunctions.parser.asl.utils.boto_client import boto_client_for

    lock = threading.Lock()
    limits = Config(
        parameter_validation=False,
        retries={"total_max_attempts": 1},
        read_timeout=TimeoutSeconds.DEFAULT_TIMEOUT_SECONDS,
    )
    client = functools.cache(lambda region, service: boto3.client(service, region, config=limits))

    def kept_client(region: str, service: str, state_credentials: Any = None) -> Any:
        with lock:
            return client(region, service)

    for module in list(sys.modules.values()):
        if getattr(module, "boto_client_for", None) is boto_client_for:
            module.boto_client_for = kept_client  # type: ignore[attr-defined]
