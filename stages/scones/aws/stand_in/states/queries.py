"""Evaluate JSONata in moto's state machines with a library in Python. moto calls one in Java, which it does not install."""

import hashlib
import json
import uuid
from typing import Any

import jsonata

from stages.scones.aws.stand_in.extending import patch


def apply() -> None:
    """Apply the patches of this module. `grammar` has to be read before."""
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
    engine._ILLEGAL_VARIABLE_REFERENCES.clear()  # AWS refuses $ only where it has no value, which evaluating finds out
    for module in (states, variable_store):
        module.encode_jsonata_variable_declarations = declarations
    patch(string_expression.StringJSONata, "_eval_body", _failing_as_queries)


def _failing_as_queries(evaluating: Any, expression: Any, env: Any) -> None:
    """Fail with States.QueryEvaluationError if an expression can't be evaluated. moto ends with States.Runtime."""
    from moto.stepfunctions.parser.api import EvaluationFailedEventDetails, HistoryEventType
    from moto.stepfunctions.parser.asl.component.common.error_name import failure_event
    from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
    from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
    from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
    from moto.stepfunctions.parser.asl.jsonata.jsonata import JSONataException

    try:
        evaluating(expression, env)
    except JSONataException as error:
        name = StatesErrorName(typ=StatesErrorNameType.StatesQueryEvaluationError)
        cause = f"The JSONata expression '{expression.expression}' can't be evaluated: {error.details}"
        details = EventDetails(
            evaluationFailedEventDetails=EvaluationFailedEventDetails(cause=cause, error=name.error_name)
        )
        failure = failure_event.FailureEvent(env, name, HistoryEventType.EvaluationFailed, details)
        raise failure_event.FailureEventException(failure) from None
