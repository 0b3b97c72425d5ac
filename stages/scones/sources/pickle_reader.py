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
    machine = _Machine()
    try:
        for number, (opcode, argument, position) in enumerate(pickletools.genops(content)):
            if number == MOST_OPCODES:
                raise ValueError(f"more than {MOST_OPCODES} opcodes")
            if not machine.execute(opcode.name, argument):
                raise ValueError(f"the opcode {opcode.name} at byte {position}")
        (value,) = machine.stack
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        cause = f"{type(error).__name__}: {error}"
        raise ValueError(f"found no pickle of plain values ({cause})") from None
    return value


class _Machine:
    """The stack on which a pickle builds its value."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def execute(self, opcode: str, argument: Any) -> bool:
        """Execute the opcode and return True, or return False if it is unknown.

        Raises various errors if the stack lacks its operands.
        """
        stack = self.stack
        match opcode:
            case "PROTO" | "STOP":
                pass
            case "INT" | "BININT" | "BININT1" | "BININT2" | "STRING" | "BINSTRING" | "SHORT_BINSTRING":
                stack.append(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode])
            case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT":
                stack.append({"EMPTY_TUPLE": (), "EMPTY_LIST": [], "EMPTY_DICT": {}}[opcode])
            case "MARK":
                self._marks.append(len(stack))
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = len(stack) - self._marks.pop() if opcode == "TUPLE" else int(opcode[-1])
                stack.append(tuple(self._pop(count)))
            case "LIST":
                stack.append(self._since_mark())
            case "APPEND":
                (value,) = self._pop(1)
                stack[-1].append(value)
            case "APPENDS":
                values = self._since_mark()
                stack[-1].extend(values)
            case "DICT":
                stack.append(_pairs(self._since_mark()))
            case "SETITEM" | "SETITEMS":
                pairs = _pairs(self._pop(2) if opcode == "SETITEM" else self._since_mark())
                stack[-1].update(pairs)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "GLOBAL":
                stack.append(Global(argument))
            case "REDUCE":
                stack.append(Call(*self._pop(2)))
            case "BUILD":
                (state,) = self._pop(1)
                stack[-1].state = state
            case _:
                return False
        return True

    def _pop(self, count: int) -> list[Any]:
        begin = len(self.stack) - count
        if begin < 0:
            raise IndexError("pop from an empty stack")
        values = self.stack[begin:]
        del self.stack[begin:]
        return values

    def _since_mark(self) -> list[Any]:
        return self._pop(len(self.stack) - self._marks.pop())


def _pairs(values: list[Any]) -> dict[str, Any]:
    """Return alternating keys and values as a dict.

    Keys must be strings, because hashing a deep tuple would crash the process.
    """
    keys = values[::2]
    if not all(isinstance(key, str) for key in keys):
        raise TypeError("a key is not a string")
    return dict(zip(keys, values[1::2], strict=True))
