"""Measure what the costliest bodies of at most 4 MB cost each model: the processor's seconds and the memory.

A process with the model's functions and the exported model forks for each body, so that each one begins with the same
memory. No body may cost more than 300 MB or 2 s.
"""

import contextlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from all_bodies import all_bodies
from bodies import LARGEST, Body

from stages.serving.process import unpacked

MEGABYTES, SECONDS = 300, 2.0
PATIENCE, LONGEST, MOST = 30, 300, 8_000_000_000
"""Limits of a process: the processor's seconds, all seconds, and bytes of its addresses."""


def peak() -> int:
    """This process's largest resident memory since the last reset, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def attempt(inference: Any, model: Any, body: Body) -> str:
    """Answer ``body`` as the container does. Returns the outcome in words."""
    ready = getattr(inference, "ready_fn", lambda data, model: data)
    batch = getattr(inference, "batch_fn", lambda items, model: [inference.predict_fn(one, model) for one in items])
    try:
        [prediction] = batch([ready(inference.input_fn(body.content, body.kind), model)], model)
        if isinstance(prediction, Exception):
            raise prediction
        answer = inference.output_fn(prediction, "application/json; verbose=true")
        return f"answered with {len(answer)} bytes"
    except ValueError as error:
        return f"refused: {error}"
    except Exception as error:
        return f"500: {type(error).__name__}: {str(error)[-300:]}"


def measured(inference: Any, model: Any, body: Body) -> tuple[float, float, str]:
    """The seconds, the megabytes and the outcome of one body, in a process of its own."""
    source, sink = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            signal.setitimer(signal.ITIMER_PROF, PATIENCE)
            signal.alarm(LONGEST)
            resource.setrlimit(resource.RLIMIT_AS, (MOST, MOST))
            Path("/proc/self/clear_refs").write_text("5")
            before, begin = peak(), time.process_time()
            outcome = attempt(inference, model, body)
            found = [time.process_time() - begin, (peak() - before) / 1e6, outcome]
            os.write(sink, json.dumps(found).encode()[:60_000])
        os._exit(0)
    os.close(sink)
    with os.fdopen(source, "rb") as answer:
        content = answer.read()
    _, status = os.waitpid(child, 0)
    if not content:
        return 1000.0, 1e6, f"no answer, ended with {status}"
    seconds, megabytes, outcome = json.loads(content)
    return seconds, megabytes, outcome


def measure(project: str, bodies: Sequence[Body]) -> list[dict[str, Any]]:
    """Print a line for each body that the project reads. Returns their costs."""
    inference, rows = import_module(f"stages.{project}.inference"), []
    with unpacked(Path("models", project, "export", "model.tar.gz")) as folder:
        model = inference.model_fn(str(folder / "model"))
        for body in bodies:
            if body.name in ("PNG, RGB", "JPEG, grey", "CSV, 10,000 hours") and project in body.projects:  # to warm up
                attempt(inference, model, body)
        for body in bodies:
            if project not in body.projects or len(body.content) > LARGEST + 200_000:
                continue
            seconds, megabytes, outcome = measured(inference, model, body)
            held = seconds <= SECONDS and megabytes <= MEGABYTES and not outcome.startswith("500")
            size = len(body.content) / 1e6
            row = {"project": project, "body": body.name, "size": size, "seconds": seconds, "megabytes": megabytes, "outcome": outcome, "held": held}  # fmt: skip
            print(f"{'    ' if held else 'LOST'} {line(row)}", flush=True)
            rows.append(row)
    return rows


def line(row: dict[str, Any]) -> str:
    return (
        f"{row['project']:10} {row['size']:5.2f} MB {row['seconds']:7.2f} s {row['megabytes']:7.0f} MB  "
        f"{row['body']}: {row['outcome'][-90:]}"
    )


if __name__ == "__main__":
    bodies = list(all_bodies())
    rows = [row for project in sys.argv[2:] for row in measure(project, bodies)]
    Path(sys.argv[1]).write_text(json.dumps(rows))
