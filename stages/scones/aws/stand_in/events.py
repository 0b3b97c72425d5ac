"""EventBridge's rules and schedules: deliver events of S3 objects and of schedules to functions and state machines.

moto stores rules and schedules, but delivers only to queues and logs, and runs no schedule.
"""

import json
import re
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from jsonpath_ng.parser import parse
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.common_models import CloudFormationModel
from moto.events.models import Rule, events_backends
from moto.s3.models import FakeBucket
from moto.scheduler.models import scheduler_backends

from stages.scones.aws.stand_in.extending import StackResource, client, patch

HOUR = 10.0
"""Seconds that an hour of a schedule takes here."""

RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
HOURS = {"minute": 1 / 60, "hour": 1.0, "day": 24.0}
PLACEHOLDER = re.compile(r"<([\w-]+)>")

_deliveries = ThreadPoolExecutor(8, "events")


class StackSchedule(StackResource, CloudFormationModel):
    """A schedule of a stack."""

    SERVICE, KIND, NAME = "scheduler", "AWS::Scheduler::Schedule", "Name"

    @staticmethod
    def create(service: Any, properties: dict[str, Any]) -> None:
        service.create_schedule(**properties)

    @staticmethod
    def delete(service: Any, properties: dict[str, Any]) -> None:
        service.delete_schedule(Name=properties["Name"])


def apply() -> None:
    """Patch moto, and start to run the schedules. Call this once, before the first request."""
    patch(Rule, "send_to_targets", _to_more_targets)
    for name in ("create_from_cloudformation_json", "update_from_cloudformation_json"):
        patch(FakeBucket, name, _with_events)
    threading.Thread(target=_run_schedules, daemon=True).start()


def _with_events(making: Any, *arguments: Any, **named: Any) -> Any:
    """Send events of a stack's bucket to EventBridge if its definition says so. moto ignores that."""
    definition = named["cloudformation_json"] if "cloudformation_json" in named else arguments[1]
    told = (definition.get("Properties", {}).get("NotificationConfiguration") or {}).get("EventBridgeConfiguration")
    bucket = making(*arguments, **named)
    on = told is not None and str(told.get("EventBridgeEnabled", True)).lower() == "true"
    bucket.set_notification_configuration({"EventBridgeConfiguration": {}} if on else None)
    return bucket


def _to_more_targets(sending: Any, rule: Any, event: Any, transform_input: bool = True) -> None:
    """Deliver events to functions and state machines, too. A rule with only a schedule gets no events."""
    own = [target for target in rule.targets if _service(target) in ("lambda", "states")]
    if not own:
        sending(rule, event, transform_input)
    elif rule.state == "ENABLED" and rule.event_pattern.get_pattern() and rule.event_pattern.matches_event(event):
        for target in own:
            deliver(rule.region_name, target, event)


def _service(target: dict[str, Any]) -> str:
    return str(target["Arn"].split(":")[2])


def _input(target: dict[str, Any], event: dict[str, Any]) -> str:
    """Return a target's input: its own text, a template with values of the event, or the event."""
    if "Input" in target:
        return str(target["Input"])
    if transformer := target.get("InputTransformer"):
        paths = transformer.get("InputPathsMap", {})

        def value(match: re.Match[str]) -> str:
            found = parse(paths[match[1]]).find(event) if match[1] in paths else []
            return json.dumps(found[0].value if found else "")

        return PLACEHOLDER.sub(value, transformer["InputTemplate"])
    return json.dumps(event)


def deliver(region: str, target: dict[str, Any], event: dict[str, Any]) -> None:
    """Call a function or start an execution, and don't wait for it."""

    def call() -> None:
        try:
            service, content = _service(target), _input(target, event)
            if service == "lambda":
                client("lambda", region).invoke(FunctionName=target["Arn"], Payload=content.encode())
            else:
                client("stepfunctions", region).start_execution(stateMachineArn=target["Arn"], input=content)
        except Exception:  # nobody waits for the result: AWS would count it among the failed invocations
            traceback.print_exc()

    _deliveries.submit(call)


def _scheduled() -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """Yield region, expression, target and a name that tells it from others, of all enabled schedules."""
    for region, rules in list(events_backends[DEFAULT_ACCOUNT_ID].items()):
        for rule in [one for bus in list(rules.event_buses.values()) for one in list(bus.rules.values())]:
            if rule.scheduled_expression and rule.state == "ENABLED":
                for target in list(rule.targets):
                    yield region, rule.scheduled_expression, target, f"{rule.arn} {target['Id']}"
    for region, scheduler in list(scheduler_backends[DEFAULT_ACCOUNT_ID].items()):
        for schedule in [one for group in list(scheduler.schedule_groups.values()) for one in group.schedules.values()]:
            if schedule.state == "ENABLED":
                yield region, schedule.schedule_expression, schedule.target, schedule.arn


def seconds(expression: str) -> float | None:
    """Return the seconds here between two runs of `rate(...)`, None for other expressions, which are not run."""
    found = RATE.fullmatch(expression)
    return int(found[1]) * HOURS[found[2]] * HOUR if found else None


def _run_schedules() -> None:
    last: dict[tuple[str, str], float] = {}
    while True:
        time.sleep(0.5)
        now, there = time.monotonic(), set()
        for region, expression, target, name in _scheduled():
            pause = seconds(expression)
            if pause is None or _service(target) not in ("lambda", "states"):
                continue
            there.add((name, expression))
            if now - last.setdefault((name, expression), now) >= pause:
                last[name, expression] = now
                moment = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
                deliver(region, target, {"source": "aws.events", "detail-type": "Scheduled Event", "time": moment})
        last = {key: begin for key, begin in last.items() if key in there}
