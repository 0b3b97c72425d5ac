"""Read a pickle as data, without unpickling it: nothing that it names is imported or called.

`pickletools.genops` splits the bytes into opcodes (https://docs.python.org/3/library/pickletools.html). Opcodes that
build plain values are executed here. Opcodes that would run code only leave a record (`Global`, `Call`). All others are
refused. That is enough for pickles from Python 2, such as CIFAR's files. Time and memory are bounded by the size of the
pickle.
"""

import pickletools
from dataclasses import dataclass
from typing import Any

MOST_OPCODES = 1_000_000
"""Largest accepted number of opcodes. The longest needed pickle, CIFAR-100's training images, has about 200,000."""


@dataclass(frozen=True)
class Global:
    """An import that unpickling would do: module and name, separated by a space."""

    name: str


@dataclass
class Call:
    """A call that unpickling would do, and the state that it would set on the result."""

    function: object
    arguments: object
    state: object = None


def read(content: bytes) -> object:
    """Return the value in ``content``: dict, list, tuple, str (Latin-1 for a Python 2 string), int, bool, None, Global or Call.

    Raises ValueError, and no other exception, for anything else.
    """
    try:
        return _value(content)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        cause = f"{type(error).__name__}: {error}"
        raise ValueError(f"found no pickle of plain values ({cause})") from None


def _value(content: bytes) -> object:
    """Build the value on a stack, as unpickling does. Raises various errors if the stack lacks an opcode's operands."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    argument: Any

    def pop(count: int) -> list[Any]:
        begin = len(stack) - count
        if begin < 0:
            raise IndexError("pop from an empty stack")
        values = stack[begin:]
        del stack[begin:]
        return values

    def since_mark() -> list[Any]:
        return pop(len(stack) - marks.pop())

    for number, (opcode, argument, position) in enumerate(pickletools.genops(content)):
        if number == MOST_OPCODES:
            raise ValueError(f"more than {MOST_OPCODES} opcodes")
        match opcode.name:
            case "PROTO" | "STOP":
                pass
            case "INT" | "BININT" | "BININT1" | "BININT2" | "STRING" | "BINSTRING" | "SHORT_BINSTRING":
                stack.append(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE" as name:
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
            case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT" as name:
                stack.append({"EMPTY_TUPLE": (), "EMPTY_LIST": [], "EMPTY_DICT": {}}[name])
            case "MARK":
                marks.append(len(stack))
            case "TUPLE":
                stack.append(tuple(since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                stack.append(tuple(pop(int(name[-1]))))
            case "LIST":
                stack.append(since_mark())
            case "APPEND":
                (value,) = pop(1)
                stack[-1].append(value)
            case "APPENDS":
                values = since_mark()
                stack[-1].extend(values)
            case "DICT":
                stack.append(_pairs(since_mark()))
            case "SETITEM" | "SETITEMS" as name:
                pairs = _pairs(pop(2) if name == "SETITEM" else since_mark())
                stack[-1].update(pairs)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(Global(argument))
            case "REDUCE":
                stack.append(Call(*pop(2)))
            case "BUILD":
                (state,) = pop(1)
                stack[-1].state = state
            case name:
                raise ValueError(f"the opcode {name} at byte {position}")
    (value,) = stack
    return value


def _pairs(values: list[Any]) -> dict[str, Any]:
    """Return alternating keys and values as a dict.

    Keys must be strings, because hashing a deep tuple would crash the process.
    """
    keys = values[::2]
    if not all(isinstance(key, str) for key in keys):
        raise TypeError("a key is not a string")
    return dict(zip(keys, values[1::2], strict=True))
