"""Ways to change moto in this process: better functions in place of its own, and types of resources that its stacks lack."""

import functools
import inspect
from collections.abc import Callable
from typing import Any


def patch(owner: Any, name: str, better: Callable[..., Any]) -> None:
    """Replace a function of a module, or a method or property of a class. ``better`` gets the former one before its arguments."""
    there = inspect.getattr_static(owner, name)
    if isinstance(there, property):
        setattr(owner, name, property(functools.partial(better, there.fget)))
        return
    former = getattr(owner, name)

    def replaced(*arguments: Any, **named: Any) -> Any:
        return better(former, *arguments, **named)

    setattr(owner, name, staticmethod(replaced) if isinstance(there, classmethod | staticmethod) else replaced)


class StackResource:
    """What moto asks of a resource that it makes otherwise only by API calls.

    A subclass inherits from moto's `CloudFormationModel`, too, of which moto looks only at direct subclasses.
    """

    KIND = ""
    NAME = ""
    """The property with the resource's name."""

    def __init__(self, name: str, region: str) -> None:
        self.name, self.region = name, region

    @staticmethod
    def put(name: str, properties: dict[str, Any], account: str, region: str) -> None:
        """Create the resource, or replace the one of this name."""
        raise NotImplementedError

    @classmethod
    def cloudformation_type(cls) -> str:
        return cls.KIND

    @classmethod
    def cloudformation_name_type(cls) -> str:
        return cls.NAME

    @property
    def physical_resource_id(self) -> str:
        return self.name

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> Any:
        cls.put(resource_name, cloudformation_json["Properties"], account_id, region_name)
        return cls(resource_name, region_name)

    @classmethod
    def update_from_cloudformation_json(
        cls, original_resource: Any, new_resource_name: str, *same: Any, **named: Any
    ) -> Any:
        return cls.create_from_cloudformation_json(original_resource.name, *same, **named)
