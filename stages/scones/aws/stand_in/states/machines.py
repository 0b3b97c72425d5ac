"""Patch moto's engine of state machines in this process. Each patch states its reason."""

import functools
import re
import sys
import uuid
from typing import Any

from moto.core.config import default_user_config
from moto.s3.models import s3_backends
from moto.stepfunctions import models as state_machines

from stages.scones.aws.stand_in.extending import client, patch
from stages.scones.aws.stand_in.states import grammar, maps, queries


def apply() -> None:
    """Apply all patches. Call this once, before the first request."""
    grammar.read()
    from moto.stepfunctions.parser.asl.component.common.path import result_path
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_sfn import (
        StateTaskServiceSfn,
    )
    from moto.stepfunctions.parser.asl.utils import json_path
    from moto.stepfunctions.parser.models import StepFunctionsParserBackend, stepfunctions_parser_backends

    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    # moto's CloudFormation makes state machines in the backend that does not execute them.
    state_machines.stepfunctions_backends = stepfunctions_parser_backends
    for name in ("create_from_cloudformation_json", "update_from_cloudformation_json"):
        patch(state_machines.StateMachine, name, _with_definition)
    patch(StateTaskServiceSfn, "_normalise_parameters", _as_boto3_names)
    StateTaskServiceSfn._normalise_response = _as_states_names
    patch(StepFunctionsParserBackend, "start_execution", _start)
    for module in (json_path, result_path):
        module.parse = functools.lru_cache(maxsize=256)(module.parse)  # moto parses each path at each use
    _everywhere(json_path.extract_json, functools.partial(_one_of_one, json_path, json_path.extract_json))
    maps.apply()
    queries.apply()
    _give_states_clients()


def _with_definition(making: Any, *arguments: Any, **named: Any) -> Any:
    """Read a definition from S3 and substitute the names in it. moto accepts a definition only as text."""
    resource = named["cloudformation_json"] if "cloudformation_json" in named else arguments[1]
    account_id = named["account_id"] if "account_id" in named else arguments[2]
    properties = resource["Properties"]
    if location := properties.pop("DefinitionS3Location", None):
        text = s3_backends[account_id]["aws"].get_object(location["Bucket"], location["Key"]).value.decode()
        for key, value in properties.pop("DefinitionSubstitutions", {}).items():
            text = text.replace(f"${{{key}}}", str(value))
        properties["DefinitionString"] = text
    return making(*arguments, **named)


def _start(
    starting: Any, backend: Any, state_machine_arn: str, name: str | None = None, *more: Any, **named: Any
) -> Any:
    """Start an execution, with a name of its own if none is given, and drop the history of old ones.

    moto calls all executions without a name None, and takes only one. It keeps the history forever.
    """
    from moto.stepfunctions.parser import utils

    execution = starting(backend, state_machine_arn, name or str(uuid.uuid4()), *more, **named)
    utils.TMP_THREADS.clear()
    machine = backend.describe_state_machine(state_machine_arn)
    ended = [one for one in machine.executions if one.stop_date]
    for old in ended[:-50]:  # they keep only their outcome, because memory would grow with each
        old.exec_worker.env, old.state_machine = None, machine  # each has a copy of the machine
    return execution


INDEFINITE = re.compile(r"\*|\.\.|\[[^\]]*[:?,]")
"""Paths that may name several values: wildcards, slices, filters, unions, and values at any depth."""


def _one_of_one(json_path: Any, extracting: Any, path: str, data: Any) -> Any:
    """Return the value at a path such as `$[0].body`. moto returns a list with the value for every path with an index."""
    found = [] if INDEFINITE.search(path) else json_path.parse(path).find(data)
    return found[0].value if len(found) == 1 else extracting(path, data)


def _everywhere(former: Any, better: Any) -> None:
    """Replace a function in all modules that have imported it."""
    name = former.__name__
    for module in [one for one in sys.modules.values() if getattr(one, name, None) is former]:
        setattr(module, name, better)


def _as_boto3_names(normalising: Any, task: Any, parameters: dict[str, Any], *arguments: Any, **named: Any) -> None:
    """Rename parameters for boto3: states have StateMachineArn, boto3 expects stateMachineArn. moto passes it unchanged."""
    normalising(task, parameters, *arguments, **named)
    for name in list(parameters):
        parameters[name[0].lower() + name[1:]] = parameters.pop(name)


def _as_states_names(task: Any, response: dict[str, Any], *arguments: Any, **named: Any) -> None:
    """Rename boto3's results for states: boto3 returns output, states read Output."""
    for name in list(response):
        response[name[0].upper() + name[1:]] = response.pop(name)


def _give_states_clients() -> None:
    """Keep clients for states. moto makes one for each call of a state, which is slow, and with a fixed access key."""
    from moto.stepfunctions.parser.asl.utils.boto_client import boto_client_for

    _everywhere(boto_client_for, lambda region, service, state_credentials=None: client(service, region))
