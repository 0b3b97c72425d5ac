"""CloudFormation's UpdateStack. moto's own updates only resources that name a changed parameter themselves.

A resource is updated if its properties differ once all names in them are resolved, after the resources on which it depends.
Most are changed in place. Some are replaced, and the old ones are deleted at the end. If one update fails, all are undone, as
in CloudFormation.
"""

import copy
import graphlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

from moto.cloudformation import parsing
from moto.cloudformation.models import Event, Stack
from moto.cloudformation.parsing import ResourceMap
from moto.core import DEFAULT_ACCOUNT_ID
from moto.iam.models import iam_backends

IN_PLACE = (
    "AWS::CloudWatch::Alarm",
    "AWS::Events::Rule",
    "AWS::Lambda::Function",
    "AWS::S3::Bucket",
    "AWS::SageMaker::Endpoint",
    "AWS::Scheduler::Schedule",
    "AWS::StepFunctions::StateMachine",
)
"""Types that moto, or this package, changes in place. Of other types moto stores nothing that a change would affect."""


def apply(changed: Callable[[], None]) -> None:
    """Patch moto. ``changed`` is called after each update.

    Stacks are updated while requests are answered, as in CloudFormation: the caller sees UPDATE_IN_PROGRESS until it ends.
    """

    def update(
        stack: Any, template: str, role_arn: str | None = None, parameters: Any = None, tags: Any = None
    ) -> None:
        stack._add_stack_event("UPDATE_IN_PROGRESS", resource_status_reason="User Initiated")
        stack.status = "UPDATE_IN_PROGRESS"
        arguments = (stack, template, parameters or {}, tags, changed)
        threading.Thread(target=_update, args=arguments, daemon=True).start()

    Stack.update = update


def _update(stack: Any, template: str, parameters: dict[str, Any], tags: Any, changed: Callable[[], None]) -> None:
    former = stack.template, stack.template_dict
    stack.template = template
    change: Change | None = None
    try:
        stack._parse_template()
        change = Change(stack.resource_map, stack.template_dict, parameters)
        change.make()
    except Exception as error:  # whatever a resource raises is its failure
        name = change.at if change else stack.name
        kind = stack.template_dict.get("Resources", {}).get(name, {}).get("Type", "AWS::CloudFormation::Stack")
        why = str(getattr(error, "message", "") or error)
        stack.events.append(Event(stack.stack_id, stack.name, name, "", kind, "UPDATE_FAILED", why, None))
        stack._add_stack_event("UPDATE_ROLLBACK_IN_PROGRESS")
        stack.template, stack.template_dict = former
        if change:
            change.undo()
        end = "UPDATE_ROLLBACK_COMPLETE"
    else:
        change.clean_up()
        stack.parameters = {**stack.parameters, **parameters}
        stack.tags = stack.tags if tags is None else tags
        end = "UPDATE_COMPLETE"
    stack.output_map = stack._create_output_map()
    changed()
    stack._add_stack_event(end)
    stack.status = end


def references(node: Any) -> Iterator[str]:
    """Yield the names to which a resource's definition refers."""
    if isinstance(node, list):
        for inner in node:
            yield from references(inner)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key == "Ref":
            yield value
        elif key == "Fn::GetAtt":
            yield value[0] if isinstance(value, list) else value.partition(".")[0]
        elif key == "DependsOn":
            yield from [value] if isinstance(value, str) else value
        elif key == "Fn::Sub":
            text, own = (value, {}) if isinstance(value, str) else value
            yield from (name.partition(".")[0] for name in re.findall(r"\$\{([^!}]+)\}", text) if name not in own)
            yield from references(own)
        else:
            yield from references(value)


class Change:
    """One update of a stack's resources."""

    def __init__(self, resources: ResourceMap, template: dict[str, Any], parameters: dict[str, Any]) -> None:
        self._map, self._template, self._parameters = resources, template, parameters
        self._before = copy.copy(vars(resources))
        self._before["_parsed_resources"] = dict(resources._parsed_resources)
        self._old_json = resources._resource_json_map
        self._old = {
            name: parsing.clean_json(content, resources)
            for name, content in self._old_json.items()
            if resources._parsed_resources.get(name) is not None
        }
        self._retired: list[tuple[Any, dict[str, Any]]] = []
        self._undo: list[Callable[[], Any]] = []
        self.at = ""
        """The resource that was changed last."""

    def make(self) -> None:
        """Create, change and replace. Nothing is deleted yet. Raises whatever a resource raises."""
        self._map._template = self._template
        self._map.input_parameters = {**self._map.input_parameters, **self._parameters}
        self._map.resolved_parameters = {}
        self._map.load_mapping()
        self._map.load_parameters()
        self._map.load_conditions()
        resources = self._map._resource_json_map = self._template["Resources"]
        graph = {name: resources.keys() & set(references(content)) for name, content in resources.items()}
        for name in graphlib.TopologicalSorter(graph).static_order():
            self._settle(name, resources[name])

    def _settle(self, name: str, definition: dict[str, Any]) -> None:
        if self._left_out(definition):
            return
        self.at = name
        if name not in self._old:
            self._create(name, definition)
            return
        former, wanted = self._old[name], parsing.clean_json(definition, self._map)
        if wanted.get("Properties") == former.get("Properties"):
            return
        named = parsing.resource_name_property_from_type(definition["Type"])
        other_name = named and wanted["Properties"].get(named) != former["Properties"].get(named)
        # CloudFormation replaces these for any change.
        if other_name or definition["Type"] in ("AWS::SageMaker::Model", "AWS::SageMaker::EndpointConfig"):
            self._retired.append((self._map._parsed_resources.pop(name), former))
            self._create(name, definition)
        else:
            resource = self._map._parsed_resources[name]
            _change_in_place(self._map, resource, wanted)
            self._undo.append(lambda: _change_in_place(self._map, resource, former))

    def _left_out(self, definition: dict[str, Any]) -> bool:
        return "Condition" in definition and not self._map.lazy_condition_map[definition["Condition"]]

    def _create(self, name: str, definition: dict[str, Any]) -> None:
        made = self._map[name]
        if made is not None:
            self._undo.append(lambda: self._map._delete_resource(made, parsing.clean_json(definition, self._map)))

    def clean_up(self) -> None:
        """Delete what was replaced and what the new template does not have."""
        for name in self._old:
            definition = self._template["Resources"].get(name)
            if definition is None or self._left_out(definition):
                resource = self._map._parsed_resources.pop(name)
                if self._old_json[name].get("DeletionPolicy") != "Retain":
                    self._retired.append((resource, self._old[name]))
        for resource, definition in reversed(self._retired):
            self._map._delete_resource(resource, definition)

    def undo(self) -> None:
        """Put everything back."""
        for step in reversed(self._undo):
            step()
        vars(self._map).update(self._before)


def _change_in_place(resources: Any, resource: Any, wanted: dict[str, Any]) -> None:
    account_id, region = resources._account_id, resources._region_name
    if wanted["Type"] == "AWS::IAM::Role":
        roles = iam_backends[DEFAULT_ACCOUNT_ID]["aws"]
        for policy in wanted["Properties"].get("Policies", []):
            roles.put_role_policy(resource.name, policy["PolicyName"], json.dumps(policy["PolicyDocument"]))
    elif wanted["Type"] in IN_PLACE:
        kind = parsing.resource_class_from_type(wanted["Type"])
        # A copy, because some remove properties that they have read.
        kind.update_from_cloudformation_json(
            original_resource=resource,
            new_resource_name=resource.name if wanted["Type"] == "AWS::Events::Rule" else "",
            cloudformation_json=copy.deepcopy(wanted),
            account_id=account_id,
            region_name=region,
        )
