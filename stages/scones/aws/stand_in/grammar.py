"""Let antlr's runtime 4.9 read moto's grammar of the states language, which antlr 4.13 compiled.

DVC needs the runtime 4.9 (through hydra). Version 4.10 changed the serialized form: a list of numbers instead of a string,
no UUID, and one list of character sets instead of two.
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
        raise ValueError(f"found a grammar of format {version}, expected 4")


def _check_uuid(reader: Any) -> None:
    reader.uuid = BASE_SERIALIZED_UUID  # that of grammars with one list of character sets


def read_format_4() -> None:
    """Patch antlr's runtime so that it reads grammars of format 4."""
    if SERIALIZED_VERSION == 3:
        ATNDeserializer.reset = _reset
        ATNDeserializer.checkVersion = _check_version
        ATNDeserializer.checkUUID = _check_uuid
        Recognizer.checkVersion = lambda recognizer, version: None  # otherwise it prints a warning
