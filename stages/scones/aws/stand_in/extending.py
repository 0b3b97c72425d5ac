"""Ways to change moto in this process: better functions in place of its own, and types of resources that its stacks lack."""

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config

LIMITS = Config(parameter_validation=False, retries={"total_max_attempts": 1}, read_timeout=None)
"""Of clients for which this server itself answers: a state waits as long as its own timeout says."""


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


_lock = threading.Lock()  # boto3 makes clients in one thread at a time
_client = functools.cache(functools.partial(boto3.client, config=LIMITS))


def client(service: str, region: str) -> Any:
    """Return the client of this process, which asks its own server."""
    with _lock:
        return _client(service, region)


class StackResource:
    """A resource of a stack of a type that moto makes otherwise only by API calls, which take the same properties.

    A subclass inherits from moto's `CloudFormationModel`, too, of which moto looks only at direct subclasses.
    """

    SERVICE: str
    KIND: str
    NAME: str
    """The property with the resource's name."""
    create: Callable[[Any, dict[str, Any]], None]
    delete: Callable[[Any, dict[str, Any]], None]
    """Both take the client of the service, and the properties."""

    def __init__(self, name: str, region: str) -> None:
        self.name, self.region = name, region

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
    def create_from_cloudformation_json(cls, name: str, content: Any, _: str, region: str, **__: Any) -> Any:
        cls.create(client(cls.SERVICE, region), {**content["Properties"], cls.NAME: name})
        return cls(name, region)

    @classmethod
    def update_from_cloudformation_json(
        cls, original_resource: Any, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> Any:
        arguments = (original_resource.name, cloudformation_json, account_id, region_name)
        cls.delete_from_cloudformation_json(*arguments)
        return cls.create_from_cloudformation_json(*arguments)

    @classmethod
    def delete_from_cloudformation_json(cls, name: str, content: Any, _: str, region: str) -> None:
        cls.delete(client(cls.SERVICE, region), {**content.get("Properties", {}), cls.NAME: name})
