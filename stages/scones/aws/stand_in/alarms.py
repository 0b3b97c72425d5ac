"""CloudWatch's alarms on one metric: the stand-in records the metrics of its endpoints and functions, and moto stores them.

The periods of alarms shrink as a deployment's waits do: a minute takes `MINUTE` seconds.
"""

import json
import operator
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from moto.cloudwatch.models import MetricDatum, cloudwatch_backends
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.common_models import CloudFormationModel
from moto.core.utils import utcnow
from moto.sns.models import sns_backends

from stages.scones.aws.stand_in.endpoints import MINUTE
from stages.scones.aws.stand_in.extending import StackResource

KEPT = 20_000
"""Measurements that are kept. The oldest are dropped, because memory would grow with each request."""

COMPARISONS = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
STATISTICS: dict[str, Callable[[Sequence[float]], Any]] = {
    "Average": np.mean,
    "Sum": np.sum,
    "Minimum": np.min,
    "Maximum": np.max,
    "SampleCount": len,
}


class StackAlarm(StackResource, CloudFormationModel):
    """An alarm of a stack. An alarm on several metrics is not evaluated."""

    SERVICE, KIND, NAME = "cloudwatch", "AWS::CloudWatch::Alarm", "AlarmName"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr == "Arn"

    def get_cfn_attribute(self, attribute_name: str) -> str:
        arn: str = cloudwatch_backends[DEFAULT_ACCOUNT_ID][self.region].alarms[self.name].alarm_arn
        return arn

    @staticmethod
    def create(service: Any, properties: dict[str, Any]) -> None:
        service.put_metric_alarm(**{**properties, "Threshold": float(properties["Threshold"])})

    @staticmethod
    def delete(service: Any, properties: dict[str, Any]) -> None:
        service.delete_alarms(AlarmNames=[properties["AlarmName"]])


def record(region: str, namespace: str, dimensions: dict[str, str], values: dict[str, float]) -> None:
    """Store measurements, by the metrics' names, with the current time."""
    kept = cloudwatch_backends[DEFAULT_ACCOUNT_ID][region].metric_data
    named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    kept.extend(MetricDatum(namespace, name, value, named, utcnow()) for name, value in values.items())
    if len(kept) > 1.1 * KEPT:
        del kept[:-KEPT]


def record_request(region: str, endpoint: str, variant: str, status: int, seconds: float) -> None:
    """Store SageMaker's metrics of a request that ended with the container's HTTP ``status`` after ``seconds``."""
    values = {
        "Invocations": 1.0,
        "Invocation4XXErrors": float(400 <= status < 500),
        "Invocation5XXErrors": float(status >= 500),
        "ModelLatency": seconds * 1e6,  # microseconds
    }
    record(region, "AWS/SageMaker", {"EndpointName": endpoint, "VariantName": variant}, values)


def record_lines(region: str, lines: Iterable[str]) -> None:
    """Store the metrics in a function's log: lines in the embedded metric format."""
    for line in lines:
        if '"_aws"' not in line:
            continue
        try:
            content = json.loads(line)
            for group in content["_aws"]["CloudWatchMetrics"]:
                values = {one["Name"]: float(content[one["Name"]]) for one in group["Metrics"]}
                for names in group["Dimensions"]:
                    record(region, group["Namespace"], {name: str(content[name]) for name in names}, values)
        except (ValueError, KeyError, TypeError):
            continue  # CloudWatch ignores it, too


def _breaches(alarm: Any, values: Sequence[float]) -> bool | None:
    """Return whether a period's values breach the threshold, None if there are none to judge."""
    if not values:
        return {"breaching": True, "notBreaching": False}.get(alarm.treat_missing_data)
    name = alarm.statistic or alarm.extended_statistic
    found = np.percentile(values, float(name[1:])) if name.startswith("p") else STATISTICS[name](values)
    return bool(COMPARISONS[alarm.comparison_operator](found, float(alarm.threshold)))


def evaluate(region: str) -> None:
    """Set the state of each alarm on one metric. Publish alarms that have just gone on to their topics."""
    backend = cloudwatch_backends[DEFAULT_ACCOUNT_ID][region]
    now = datetime.now(UTC).replace(tzinfo=None)
    points = list(backend.metric_data)
    for alarm in [one for one in backend.alarms.values() if one.metric_name]:
        period = timedelta(seconds=float(alarm.period) / 60 * MINUTE)
        periods: list[list[float]] = [[] for _ in range(int(alarm.evaluation_periods))]  # the newest first
        for one in points:
            back = int((now - one.timestamp.replace(tzinfo=None)) // period)
            watched = one.dimensions == alarm.dimensions and one.filter(alarm.namespace, alarm.metric_name, [])
            if watched and 0 <= back < len(periods):
                periods[back].append(one.value)
        judged = [found for values in periods if (found := _breaches(alarm, values)) is not None]
        needed = int(alarm.datapoints_to_alarm or alarm.evaluation_periods)
        state = "INSUFFICIENT_DATA" if not judged else "ALARM" if sum(judged) >= needed else "OK"
        if state != alarm.state_value:
            reason = f"{sum(judged)} of {len(periods)} periods breach the threshold {float(alarm.threshold):g}"
            alarm.update_state(reason, "{}", state)
            if state == "ALARM" and alarm.actions_enabled:
                _publish(region, alarm, reason)


def _publish(region: str, alarm: Any, reason: str) -> None:
    content = {"AlarmName": alarm.name, "NewStateValue": alarm.state_value, "NewStateReason": reason, "Region": region}
    topics = sns_backends[DEFAULT_ACCOUNT_ID][region]
    for arn in alarm.alarm_actions:
        if arn in topics.topics:
            topics.publish(json.dumps(content), arn=arn, subject=f'ALARM: "{alarm.name}" in {region}')


def on(region: str, names: Iterable[str]) -> list[str]:
    """Return those of ``names`` whose state is ALARM. Call `evaluate` before."""
    alarms = cloudwatch_backends[DEFAULT_ACCOUNT_ID][region].alarms
    return [name for name in names if name in alarms and alarms[name].state_value == "ALARM"]
