"""Read params.yaml and check each part against a typed model."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from stages.common import files
from stages.common.errors import InputError

PARAMETERS = Path("params.yaml")

VERSION = r"^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$"
"""The form of a model's version, such as v1.0.0."""


class Section(BaseModel):
    """A group of parameters. Unknown keys are refused, values are not converted, and instances can't be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


S = TypeVar("S", bound=Section)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # in C it is ten times as fast
    """YAML 1.2 as DVC reads it: `1e-3` is a number (PyYAML's YAML 1.1 makes it a string)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"), list("-+0123456789.")
)


def parse(text: str | bytes) -> Any:
    """Parse YAML as DVC does. Raises YAMLError."""
    return yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)


def read(path: Path = PARAMETERS) -> dict[str, Any]:
    """Return the content of params.yaml, or of another YAML file. Raises InputError if it is missing or not a mapping."""
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing: run this from the project's root") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a mapping at its top level")
    return content


def load(key: str, model: type[S], parameters: dict[str, Any] | None = None) -> S:
    """Return the parameters under the dotted ``key`` (``mnist``, ``data.mnist``) as a ``model``.

    Raises InputError with the key, the value and the allowed values of each invalid parameter, in one line.
    """
    value: Any = read() if parameters is None else parameters
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise InputError(f"{PARAMETERS}: {key} is missing")
        value = value[part]
    return check(key, model, value)


def check(key: str, model: type[S], value: Any, file: Path = PARAMETERS) -> S:
    """Return ``value`` as a ``model``. ``key`` is its dotted name in ``file``, for the InputError."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = [_describe(key, model, problem) for problem in error.errors(include_url=False)]
    raise InputError(f"{file}: {'; '.join(problems)}")


def trained(key: str, model: type[S], path: Path) -> S:
    """Return the parameters ``key`` that train stored as JSON at ``path``, as a ``model``. Raises InputError."""
    return check(key, model, files.read_json(files.require(path, f"train@{key}")), path)


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested ``values`` by their dotted names. Mappings are flattened; lists stay whole."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= {f"{key}.{inner}": content for inner, content in flat(value).items()}
        else:
            found[key] = value
    return found


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the values of ``change``, merged group by group."""
    return base | {
        key: merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in change.items()
    }


def _describe(key: str, model: type[BaseModel], problem: ErrorDetails) -> str:
    location = [str(part) for part in problem["loc"]]
    name = ".".join([key, *location] if key else location)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        close = difflib.get_close_matches(location[-1], known, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        return f"{name} is not a parameter ({hint}allowed here: {', '.join(known)})"
    if problem["type"] == "missing":
        return f"{name} is missing"
    if problem["type"] == "model_type":
        known = _known_keys(model, location)
        return f"{name} = {problem['input']!r} is not allowed: expected its parameters {', '.join(known)}"
    # pydantic's messages: "Input should be less than 1", "List should have at least 1 item after validation, not 0",
    # "Value error, each once"
    allowed = re.sub(
        r"^(Input should be |\w+ should have |\w+ should match |Value error, )| after validation.*", "", problem["msg"]
    )
    return f"{name} = {problem['input']!r} is not allowed: expected {allowed}"


def _known_keys(model: type[BaseModel], location: list[str]) -> list[str]:
    """Return the parameters of the group at ``location`` below ``model``."""
    for part in location:
        field = model.model_fields.get(part)
        inner = _models_in(field.annotation) if field else []
        if not inner:
            return []
        model = inner[0]
    return list(model.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models in a type annotation: Adam for `Adam | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
