"""Lets antlr's runtime 4.9 read moto's grammar of the states language, which antlr 4.13 compiled.

DVC holds the runtime at 4.9 (by way of hydra). Between the two the serialized form changed: a list of numbers instead of a
string, no UUID, and one list of character sets instead of two.
https://github.com/antlr/antlr4/releases/tag/4.10
"""

from typing import Any

from antlr4.atn.ATNDeserializer import BASE_SERIALIZED_UUID, SERIALIZED_VERSION, ATNDeserializer
from antlr4.Recognizer import Recognizer


def _reset(reader: Any, data: list[int]) -> None:
    reader.data, reader.pos = data, 0


def _check_version(reader: Any) -> None:
    version = reader.readInt()
    if version != 4:
        raise ValueError(f"a grammar of format {version}: expected 4")


def _check_uuid(reader: Any) -> None:
    reader.uuid = BASE_SERIALIZED_UUID  # that of grammars with one list of character sets


def read_format_4() -> None:
    """Do so from now on."""
    if SERIALIZED_VERSION == 3:
        ATNDeserializer.reset = _reset
        ATNDeserializer.checkVersion = _check_version
        ATNDeserializer.checkUUID = _check_uuid
        Recognizer.checkVersion = lambda recognizer, version: None  # it would print a warning
