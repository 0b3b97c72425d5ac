"""A user's own workflow: a folder with a state machine, as the console shows it, and the handlers that it calls.

Each Python file with a function `lambda_handler` or `handler` becomes a Lambda function named like the file. All files of the
folder are in its package. Functions' names in the definition, whatever the account and region in their ARNs, are replaced by
the deployed functions, and a topic's ARN by the deployment's topic. Both are in a stack of their own, beside the deployment's
endpoint and bucket.
"""

import ast
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from stages.common.errors import InputError
from stages.engine.aws.stack import Stack
from stages.scones.aws import artifacts, own_template
from stages.scones.aws.deployment import OWN, Deployed, upload
from stages.scones.config import WorkflowSettings

HANDLERS = ("lambda_handler", "handler")
IN_LAMBDA = {"boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six"}
"""Packages of Lambda's Python runtime. It has neither the SDK of SageMaker nor numpy, pandas or torch."""

ARN = re.compile(r"arn:[\w-]+:lambda:[\w-]*:[^:\"]*:function:([\w-]+)(?::([\w$-]+))?")
TOPIC = re.compile(r"arn:[\w-]+:sns:[\w-]*:[^:\"]*:[\w-]+")
NAME = re.compile(r"(?:\d{12}:function:)?(?:\$\{)?([\w-]+)\}?(?::([\w$-]+))?")
SERVICE = re.compile(r"arn:[\w-]+:states:[\w-]*:[^:]*:([\w:-]+)")
SERVICES = ("lambda:invoke", "sns:publish")
"""The services that the state machine's role allows."""

LIMIT = 250 * 2**20
"""Largest size of a function's unpacked code in bytes, by Lambda's quota."""


@dataclass(frozen=True)
class Own:
    """A definition with names to be substituted, the functions' handlers by their names, and their package."""

    definition: str
    handlers: dict[str, str]
    package: bytes


def read(folder: Path) -> Own:
    """Return the workflow in ``folder``. Raise InputError with file and reason if it can't be deployed."""
    if not folder.is_dir():
        raise InputError(f"deploy.scones.workflow: found no folder {folder}")
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    definitions = [name for name in contents if name.endswith(".json") and "/" not in name]
    if len(definitions) != 1:
        raise InputError(f"{folder}: found {definitions or 'no'} .json files, expected one, the state machine")
    modules = {name.removesuffix(".py") for name in contents if name.endswith(".py") and "/" not in name}
    packages = {name.partition("/")[0] for name in contents if "/" in name}
    found = {name: _handler(folder / f"{name}.py", modules | packages) for name in sorted(modules)}
    handlers = {name: f"{name}.{handler}" for name, handler in found.items() if handler}
    if not handlers:
        raise InputError(f"{folder}: found no .py file with a function {' or '.join(HANDLERS)}, expected at least one")
    package = {name: content for name, content in contents.items() if name not in definitions}
    if (size := sum(map(len, package.values()))) > LIMIT:
        raise InputError(f"{folder}: found {size} bytes of code, expected at most {LIMIT}")
    return Own(_substituted(folder / definitions[0], handlers), handlers, artifacts.zipped(package))


def _handler(path: Path, there: set[str]) -> str | None:
    """Return the name of a module's handler, None if it has none. Raise InputError if Lambda could not import it."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise InputError(f"{path}: found invalid Python ({error})") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        else:
            continue
        for name in names:
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names | IN_LAMBDA | there:
                missing = f"found the import of {top}, which Lambda's Python does not have"
                raise InputError(f"{path}: line {node.lineno}: {missing}: put it into {path.parent}")
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return next((name for name in HANDLERS if name in defined), None)


def _substituted(path: Path, handlers: dict[str, str]) -> str:
    """Return the definition with ${NAME} for each function and ${Topic} for each topic."""
    try:
        definition = json.loads(path.read_text(encoding="utf-8-sig"))
        states = definition["States"]
    except (ValueError, KeyError, TypeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: found no state machine ({why}), expected StartAt and States") from None
    if not isinstance(states, dict) or definition.get("StartAt") not in states:
        raise InputError(f"{path}: StartAt: found {definition.get('StartAt')!r}, expected one of {', '.join(states)}")
    by_name = {_plain(name): name for name in handlers}
    used = set()

    def function(name: str, qualifier: str | None) -> str:
        own, expected = by_name.get(_plain(name)), ", ".join(handlers)
        if own is None:
            raise InputError(f"{path}: found the function {name}, expected one of {expected}: a file of this name")
        if qualifier not in (None, "$LATEST"):
            only = "expected $LATEST or no version: only this one is deployed"
            raise InputError(f"{path}: found {name}:{qualifier}, {only}")
        used.add(own)
        return f"${{{own_template.logical(own)}}}{':$LATEST' if qualifier else ''}"

    def replace(node: Any, key: str = "") -> Any:
        if isinstance(node, dict):
            return {name: replace(value, name) for name, value in node.items()}
        if isinstance(node, list):
            return [replace(value) for value in node]
        if not isinstance(node, str):
            return node
        service = SERVICE.match(node) if key == "Resource" else None
        if (service and service[1] not in SERVICES) or (key, node) == ("Mode", "DISTRIBUTED"):
            raise InputError(
                f"{path}: {key}: found {node}, expected {' or '.join(SERVICES) if service else 'INLINE'}: "
                "the role of the state machine allows nothing else"
            )
        if key in ("FunctionName", "Resource") and (found := NAME.fullmatch(node)):
            return function(*found.groups())
        return TOPIC.sub("${Topic}", ARN.sub(lambda match: function(*match.groups()), node))

    replaced = replace(definition)
    if not used:
        raise InputError(f"{path}: found no function, expected at least one of {', '.join(handlers)}")
    return json.dumps(replaced, indent=2)


def _plain(name: str) -> str:
    return re.sub("[-_]", "", name).lower()


def deploy(session: boto3.Session, beside: Deployed, own: Own, settings: WorkflowSettings) -> tuple[str, list[str]]:
    """Create or update the workflow beside a deployment. Return its ARN, and a line for each action."""
    code = artifacts.named("own.zip", own.package)
    definition = artifacts.named("own.asl.json", own.definition.encode())
    done = [upload(session, beside.home, dict([code, definition]))]
    wanted = {
        "ArtifactBucket": beside.home,
        "CodeKey": code.key,
        "DefinitionKey": definition.key,
        "Bucket": beside.bucket,
        "Endpoint": beside.endpoint,
        "Topic": beside.topic,
        **own_template.parameters(settings),
    }
    stack = Stack(session, f"{settings.stack}{OWN}")
    done.append(stack.put(own_template.write(own.handlers), wanted, settings.tags, settings.protect))
    return stack.outputs()["Workflow"], done
