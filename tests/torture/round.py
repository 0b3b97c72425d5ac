"""The standing round: attack the pipeline, the exports and the server, and tell what was tried, held and lost.

Works on copies: a clone with this checkout's results, and a server of its exports. The same seed attacks in the same ways.
Exits with 1 if anything was lost. `--json FILE` keeps what each attack found beside what the file has of others, so that the
parts can run one by one.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import costs  # noqa: E402
import hostile  # noqa: E402
import kills  # noqa: E402
import load  # noqa: E402
from checkouts import with_results  # noqa: E402

from stages import projects  # noqa: E402
from stages.common import files  # noqa: E402
from stages.common.errors import InputError  # noqa: E402
from stages.common.program import run  # noqa: E402
from stages.experiments.records import circumstances  # noqa: E402

FULL = "mount -t tmpfs -o size=64k none {folder} && exec python -m stages.{project}.prepare"
"""A stage whose disk is full, in a namespace of its own."""


LIMITED = "ulimit -f 2 && exec python -m stages.{project}.{step}"
"""A stage that can't write what it has computed: no file may have more than 2 kB."""


def full_disk(place: kills.Place) -> Counter[str]:
    """Run prepare of each project on a full disk, and later steps where files are limited: one sentence, and afterwards all as it was."""
    outcomes: Counter[str] = Counter()
    before = place.hashes(), place.files()
    for project in projects.names():
        commands = {
            step: ["bash", "-c", LIMITED.format(project=project, step=step)]
            for step in ("featurize", "evaluate", "export")
        }
        full = FULL.format(folder=f"data/{project}", project=project)
        commands["prepare"] = ["unshare", "--mount", "--map-root-user", "sh", "-c", full]
        if place.tried("unshare --mount --map-root-user mount -t tmpfs none /mnt").returncode:
            outcomes["not tried: this system lets no user mount a disk"] += 1
            del commands["prepare"]
        for step, command in commands.items():
            done = place.tried(*command)
            said = done.stderr.strip().splitlines()[-1:] or [""]
            held = done.returncode == 1 and said[0].startswith("error:") and "Traceback" not in done.stderr
            words = f"lost: {step}@{project}: exit code {done.returncode}: {done.stderr[-2000:]}"
            outcomes["held" if held else words] += 1
    if (place.hashes(), place.files()) != before:
        outcomes["lost: files differ afterwards"] += 1
    return outcomes


def twice(place: kills.Place) -> Counter[str]:
    """Start `make repro`'s program twice: one does the work, the other says who does it, or finds all done."""
    before, changed = place.hashes(), place.root / "reports/mnist/metrics.json"
    changed.unlink()
    command = place.command("python", "-m", "stages.experiments.repro")
    both = [subprocess.Popen(**command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    said = [one.communicate()[0] for one in both]
    codes = sorted(one.returncode for one in both)
    sound = codes[0] == 0 and "Traceback" not in "".join(said) and place.hashes() == before and changed.exists()
    refusal = all("error:" in words for words, one in zip(said, both, strict=True) if one.returncode)
    return Counter(["held" if sound and refusal else f"lost: exit codes {codes}: {said}"])


def pipeline(folder: Path, seed: int, minutes: float, count: int, project: str | None) -> dict[str, Counter[str]]:
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    place = kills.Place(with_results(folder / "clone", quick=False).root, temporary)
    place.dvc("repro", "--quiet")  # so that hashes are of this code
    return {
        "a full disk": full_disk(place),
        "make repro, twice at once": twice(place),
        "stages killed": kills.run(place, seed, count, minutes, project),
    }


def costly(folder: Path) -> Counter[str]:
    """Measure the costliest bodies in a process of its own, because it forks."""
    program, found = Path(costs.__file__), folder / "costs.json"
    path = os.pathsep.join(map(str, (program.parents[2], program.parents[1])))
    command = [sys.executable, str(program), str(found), *projects.names()]
    # A fork of a process with OpenMP's threads would wait for them forever.
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, check=False)
    if done.returncode or not found.exists():
        return Counter([f"lost: exit code {done.returncode}"])
    return summed(files.read_json(found))


def summed(rows: list[dict[str, Any]]) -> Counter[str]:
    """Return the outcomes of `costs.measure`, and in words each project's costliest bodies."""
    outcomes = Counter("held" if row["held"] else f"lost: {costs.line(row)}" for row in rows)
    for project in projects.names():
        own = [row for row in rows if row["project"] == project]
        slowest, largest = (max(own, key=lambda row: row[unit]) for unit in ("seconds", "megabytes"))
        words = f"{project} at most {slowest['seconds']:.2f} s ({slowest['body']}) and {largest['megabytes']:.0f} MB ({largest['body']})"
        outcomes[f"held: {words}"] += 0
    return outcomes


def row(outcomes: Counter[str]) -> dict[str, Any]:
    """Return what was tried, held and lost, the lost ones in words, and what was measured."""
    tried = {words: number for words, number in outcomes.items() if not words.startswith("not tried")}
    lost = [words.removeprefix("lost: ") for words in tried if words.startswith("lost")]
    notes = [f"{words.removeprefix('held: ')}{f' ({number:,})' if number > 1 else ''}" for words, number in outcomes.items() if words.startswith(("held: ", "not tried"))]  # fmt: skip
    count = sum(number for words, number in tried.items() if words.startswith("lost"))
    total = sum(tried.values())
    return {"tried": total, "held": total - count, "lost": count, "found": notes, "losses": lost}


def main(seed: int, minutes: float, kills: int, project: str | None, part: list[str], json: Path | None) -> None:
    parts: dict[str, Callable[[Path], dict[str, Counter[str]]]] = {
        "load": lambda folder: load.run(folder, seed, minutes / 6),
        "hostile": lambda folder: {"hostile requests and archives": hostile.run(folder, seed, round(20 * minutes))},
        "costs": lambda folder: {"costliest bodies of at most 4 MB": costly(folder)},
        "pipeline": lambda folder: pipeline(folder, seed, 0.4 * minutes, kills, project),
    }
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="torture-") as name:
        for one in part or parts:
            begin, busy = time.monotonic(), os.getloadavg()[2]
            folder = Path(name, one)
            folder.mkdir()
            of_part = {what: row(outcomes) for what, outcomes in parts[one](folder).items()}
            about = {
                "seed": seed,
                "date": circumstances.today(),
                "hardware": circumstances.hardware(),
                "others": round(busy, 1),
            }
            found |= {what: values | about for what, values in of_part.items()}
            if json:
                known = files.read_json(json) if json.exists() else {}  # also what other rounds found
                files.write_json(json, known | found)
            print(f"{one}: {time.monotonic() - begin:.0f} s", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{'tried':>9}{'held':>9}{'lost':>9}  what")
    for what, values in found.items():
        print(f"{values['tried']:9}{values['held']:9}{values['lost']:9}  {what}")
        for words in values["found"]:
            print(f"{'':29}{words}")
    losses = [f"{what}: {words}" for what, values in found.items() for words in values["losses"]]
    for words in losses[:50]:
        print(f"lost: {words}")
    if losses:
        raise InputError(f"{sum(values['lost'] for values in found.values())} attacks were not withstood, see above")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60, help="about how long, at most (%(default)g)")
    parser.add_argument("--kills", type=int, default=20, help="how many stages are killed at most (%(default)s)")
    parser.add_argument("--json", type=Path, help="a file for what was found; what it has of other attacks stays")
    parser.add_argument("--project", choices=projects.names(), help="kill only this project's stages")
    parser.add_argument("--part", action="append", default=[], choices=["load", "hostile", "costs", "pipeline"], help="only this part; repeatable")  # fmt: skip


if __name__ == "__main__":
    os.environ.pop("DVC_STAGE", None)
    run(main, arguments)
