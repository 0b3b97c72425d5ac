"""Run benchmarks: programs that write their results to a file, and contestants that take turns."""

import argparse
import statistics
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from stages.common import files, program
from stages.experiments.records import circumstances

Result = TypeVar("Result")


def run(
    main: Callable[..., dict[str, Any]], arguments: Callable[[argparse.ArgumentParser], None] | None = None
) -> dict[str, Any]:
    """Run ``main`` as a program, see `program.run`, and return its results. `--json FILE` also writes them.

    `circumstances.now` is written with them.
    """
    results: dict[str, Any] = {}

    def options(parser: argparse.ArgumentParser) -> None:
        if arguments:
            arguments(parser)
        parser.add_argument("--json", type=Path, help="a file for the results")

    @wraps(main)
    def measured(json: Path | None, **chosen: Any) -> None:
        results.update(main(**chosen))
        if json:
            files.write_json(json, circumstances.now() | results)

    program.run(measured, options)
    return results


def spread(count: int, most: int) -> NDArray[np.int64]:
    """Return ``most`` of the places 0 to ``count`` - 1, evenly spread, or all."""
    return np.linspace(0, count - 1, min(most, count)).astype(np.int64)


def medians(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Call the ``contestants`` in turns. Returns the median of what each returned."""
    return {name: statistics.median(found) for name, found in in_turns(contestants, rounds).items()}


def in_turns(contestants: Mapping[str, Callable[[], Result]], rounds: int) -> dict[str, list[Result]]:
    """Call the ``contestants`` in turns. Returns what they returned in each round, after one round to warm up."""
    found: dict[str, list[Result]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, contestant in contestants.items():
            result = contestant()
            if turn:
                found[name].append(result)
    return found
