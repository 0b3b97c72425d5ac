"""Patch moto's engine of state machines in this process. Each patch states its reason."""

import functools
import hashlib
import json
import re
import sys
import threading
import uuid
from typing import Any

import boto3
import jsonata
from antlr4.atn.ATNDeserializer import BASE_SERIALIZED_UUID, SERIALIZED_VERSION, ATNDeserializer
from antlr4.Recognizer import Recognizer
from botocore.config import Config
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.config import default_user_config
from moto.s3.models import s3_backends
from moto.stepfunctions import models as state_machines

KEPT = 50
"""Executions that keep their history. Older ones keep only their outcome, because memory would grow with each."""


def apply() -> None:
    """Apply all patches. Call this once, before the first request."""
    _read_grammar()
    from moto.stepfunctions.parser.asl.component.common.path import result_path
    from moto.stepfunctions.parser.asl.component.state.exec.state_map.item_reader.eval import (
        resource_eval_s3 as listing,
    )
    from moto.stepfunctions.parser.asl.component.state.exec.state_map.result_writer.resource_eval.resource_eval_s3 import (
        ResourceEvalS3,
    )
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_sfn import (
        StateTaskServiceSfn,
    )
    from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
    from moto.stepfunctions.parser.asl.utils import json_path
    from moto.stepfunctions.parser.models import StepFunctionsParserBackend, stepfunctions_parser_backends

    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    # moto's CloudFormation makes state machines in the backend that does not execute them.
    state_machines.stepfunctions_backends = stepfunctions_parser_backends
    machine = state_machines.StateMachine
    for name in ("create_from_cloudformation_json", "update_from_cloudformation_json"):
        setattr(machine, name, classmethod(_with_definition(getattr(machine, name).__func__)))
    StateTaskServiceSfn._normalise_parameters = _as_boto3_names(StateTaskServiceSfn._normalise_parameters)
    StateTaskServiceSfn._normalise_response = _as_states_names
    StepFunctionsParserBackend.start_execution = _named(_forgetful(StepFunctionsParserBackend.start_execution))
    AmazonStateLanguageParser.parse = staticmethod(_reading_once(AmazonStateLanguageParser.parse))
    for module in (json_path, result_path):
        module.parse = functools.lru_cache(maxsize=256)(module.parse)  # moto parses each path at each use
    ResourceEvalS3._handle_put_object = staticmethod(_with_results(ResourceEvalS3._handle_put_object))
    listing.ResourceEvalS3._handle_list_objects_v2 = staticmethod(_list_all(listing.ResourceEvalS3._get_s3_client))
    _everywhere(json_path.extract_json, _one_of_one(json_path))
    _evaluate_jsonata()
    _give_states_clients()


def _with_definition(making: Any) -> Any:
    """Read a definition from S3 and substitute the names in it. moto accepts a definition only as text."""

    def make(cls: Any, *arguments: Any, **named: Any) -> Any:
        resource = named["cloudformation_json"] if "cloudformation_json" in named else arguments[1]
        account_id = named["account_id"] if "account_id" in named else arguments[2]
        properties = resource["Properties"]
        place = properties.pop("DefinitionS3Location", None)
        if place:
            text = s3_backends[account_id]["aws"].get_object(place["Bucket"], place["Key"]).value.decode()
            for key, value in properties.pop("DefinitionSubstitutions", {}).items():
                text = text.replace(f"${{{key}}}", str(value))
            properties["DefinitionString"] = text
        return making(cls, *arguments, **named)

    return make


def _named(starting: Any) -> Any:
    """Give an execution without a name one of its own, as AWS does. moto calls all of them None, and takes only one."""

    def start(backend: Any, state_machine_arn: str, name: str | None = None, *arguments: Any, **more: Any) -> Any:
        return starting(backend, state_machine_arn, name or str(uuid.uuid4()), *arguments, **more)

    return start


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
        visitor = Preprocessor()
        visitor._query_language_per_scope = []  # moto's is one for all threads
        return visitor.visit(known), known

    return parse


INDEFINITE = re.compile(r"\*|\.\.|\[[^\]]*[:?,]")
"""Paths that may name several values: wildcards, slices, filters, unions, and values at any depth."""


def _one_of_one(json_path: Any) -> Any:
    """Return the value that a path such as `$[0].body` names. moto returns a list of it, as it does of any value below an index."""
    extracting = json_path.extract_json

    def extract(path: str, data: Any) -> Any:
        found = [] if INDEFINITE.search(path) else json_path.parse(path).find(data)
        return found[0].value if len(found) == 1 else extracting(path, data)

    return extract


def _everywhere(former: Any, better: Any) -> None:
    """Replace a function in all modules that have imported it."""
    name = former.__name__
    for module in [one for one in sys.modules.values() if getattr(one, name, None) is former]:
        setattr(module, name, better)


def _list_all(client: Any) -> Any:
    """List all objects for a distributed map, also if there are none. moto reads the first thousand, and fails without any."""

    def read(env: Any, *about: Any, **named: Any) -> None:
        pages = client(*about, **named).get_paginator("list_objects_v2").paginate(**env.stack.pop())
        env.stack.append(pages.build_full_result().get("Contents", []))

    return read


def _with_results(writing: Any) -> Any:
    """Write the results of a distributed map to S3. moto writes only an empty manifest."""

    def write(env: Any, *arguments: Any, **named: Any) -> None:
        results = env.stack[-2]
        writing(env, *arguments, **named)
        place = env.stack[-1]["ResultWriterDetails"]
        storage = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        key = f"{place['Key'].rpartition('/')[0]}/SUCCEEDED_0.json"
        content = json.dumps([{"Output": json.dumps(one), "Status": "SUCCEEDED"} for one in results]).encode()
        storage.put_object(place["Bucket"], key, content)
        manifest = json.loads(storage.get_object(place["Bucket"], place["Key"]).value)
        manifest["ResultFiles"]["SUCCEEDED"] = [{"Key": key, "Size": len(content)}]
        storage.put_object(place["Bucket"], place["Key"], json.dumps(manifest).encode())

    return write


def _evaluate_jsonata() -> None:
    """Evaluate JSONata with a library in Python. moto calls one in Java, which it does not install."""
    from moto.stepfunctions.parser.asl.component.common.string import string_expression
    from moto.stepfunctions.parser.asl.component.intrinsic import jsonata as intrinsic
    from moto.stepfunctions.parser.asl.eval import states, variable_store
    from moto.stepfunctions.parser.asl.jsonata import jsonata as engine

    functions = {
        "hash": lambda value, algorithm: hashlib.new(algorithm.replace("SHA-", "sha"), str(value).encode()).hexdigest(),
        "uuid": lambda: str(uuid.uuid4()),
        "parse": json.loads,
    }
    for name in functions:  # moto's own return a text that says that they are missing
        intrinsic._DECLARATION_BY_VARIABLE_REFERENCE.pop(f"${name}")

    def evaluate(expression: str) -> Any:
        try:
            query = jsonata.Jsonata(expression)
            for name, function in functions.items():
                query.register_lambda(name, function)
            return json.loads(json.dumps(query.evaluate(None)))  # the library has lists of its own
        except Exception as error:  # each is a fault of the expression
            raise engine.JSONataException("UNKNOWN", str(error)) from None

    def declarations(bindings: dict[str, Any]) -> str:
        """Declare variables. moto does not escape the quotation marks in a text."""
        return "".join(f"{name}:={json.dumps(value, default=str)};" for name, value in bindings.items())

    engine._eval_jsonata = evaluate
    for module in (states, variable_store):
        module.encode_jsonata_variable_declarations = declarations
    expression = string_expression.StringJSONata
    expression._eval_body = _failing_as_queries(expression._eval_body, engine.JSONataException)


def _failing_as_queries(evaluating: Any, failure: type[Exception]) -> Any:
    """Fail with States.QueryEvaluationError if an expression can't be evaluated. moto ends with States.Runtime."""
    from moto.stepfunctions.parser.api import EvaluationFailedEventDetails, HistoryEventType
    from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
        FailureEvent,
        FailureEventException,
    )
    from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
    from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
    from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails

    def evaluate(expression: Any, env: Any) -> None:
        try:
            evaluating(expression, env)
        except failure as error:
            name = StatesErrorName(typ=StatesErrorNameType.StatesQueryEvaluationError)
            cause = f"The JSONata expression '{expression.expression}' can't be evaluated: {error.details}"  # type: ignore[attr-defined]
            details = EvaluationFailedEventDetails(cause=cause, error=name.error_name)
            raise FailureEventException(
                FailureEvent(
                    env=env,
                    error_name=name,
                    event_type=HistoryEventType.EvaluationFailed,
                    event_details=EventDetails(evaluationFailedEventDetails=details),
                )
            ) from None

    return evaluate


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

    _everywhere(boto_client_for, kept_client)


def _reset(reader: Any, data: list[int]) -> None:
    reader.data, reader.pos = data, 0


def _check_version(reader: Any) -> None:
    version = reader.readInt()
    if version != 4:
        raise ValueError(f"found a grammar of format {version}, expected 4")


def _check_uuid(reader: Any) -> None:
    reader.uuid = BASE_SERIALIZED_UUID  # that of grammars with one list of character sets


def _read_grammar() -> None:
    """Let antlr's runtime 4.9, which DVC needs, read moto's grammar of the states language, which antlr 4.13 compiled.

    Version 4.10 changed the serialized form: a list of numbers instead of a string, no UUID, and one list of character sets
    instead of two. https://github.com/antlr/antlr4/releases/tag/4.10
    """
    if SERIALIZED_VERSION == 3:
        ATNDeserializer.reset = _reset
        ATNDeserializer.checkVersion = _check_version
        ATNDeserializer.checkUUID = _check_uuid
        Recognizer.checkVersion = lambda recognizer, version: None  # otherwise it prints a warning
