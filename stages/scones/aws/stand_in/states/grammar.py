"""Let this process read moto's grammar of the states language, and read each definition once."""

import functools
import re
from typing import Any

from antlr4.atn.ATNDeserializer import BASE_SERIALIZED_UUID, SERIALIZED_VERSION, ATNDeserializer
from antlr4.Recognizer import Recognizer

UNKNOWN = re.compile(r'("ExecutionType"\s*:\s*)"EXPRESS"|("Comment"\s*:\s*)"JSON(?:ata|Path)"')
"""Unsupported by moto's grammar: distributed maps with children other than STANDARD, which run alike here, and two comments."""


def _known(found: re.Match[str]) -> str:
    return f'{found[1]}"STANDARD"' if found[1] else f'{found[2]}""'


def read() -> None:
    """Let antlr's runtime 4.9, which DVC needs, read moto's grammar of the states language, which antlr 4.13 compiled.

    Version 4.10 changed the serialized form: a list of numbers instead of a string, no UUID, and one list of character sets
    instead of two. https://github.com/antlr/antlr4/releases/tag/4.10
    """
    if SERIALIZED_VERSION == 3:
        ATNDeserializer.reset = _reset
        ATNDeserializer.checkVersion = _check_version
        # That of grammars with one list of character sets.
        ATNDeserializer.checkUUID = lambda reader: setattr(reader, "uuid", BASE_SERIALIZED_UUID)
        Recognizer.checkVersion = lambda recognizer, version: None  # otherwise it prints a warning
    from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
    from moto.stepfunctions.parser.asl.parse.preprocessor import Preprocessor

    # moto parses a definition for each execution, which takes ten times as long as the rest of it. Nothing changes antlr's
    # tree: the states are made from it anew for each execution.
    parsing = AmazonStateLanguageParser.parse
    tree = functools.lru_cache(maxsize=16)(lambda definition: parsing(UNKNOWN.sub(_known, definition))[1])

    def parse(definition: str) -> tuple[Any, Any]:
        known = tree(definition)
        visitor = Preprocessor()
        visitor._query_language_per_scope = []  # moto's is one for all threads
        return visitor.visit(known), known

    AmazonStateLanguageParser.parse = staticmethod(parse)


def _reset(reader: Any, data: list[int]) -> None:
    reader.data, reader.pos = data, 0


def _check_version(reader: Any) -> None:
    version = reader.readInt()
    if version != 4:
        raise ValueError(f"found a grammar of format {version}, expected 4")
