"""The standing round: attack the pipeline, the exports and the server, and tell what was tried, held and lost.

Works on copies: a clone with this checkout's results, and a server of its exports. The same seed attacks in the same ways.
Exits with 1 if anything was lost.
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

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import costs  # noqa: E402
import hostile  # noqa: E402
import kills  # noqa: E402
import load  # noqa: E402
from checkouts import with_results  # noqa: E402

from stages import projects  # noqa: E402
from stages.common.errors import InputError  # noqa: E402
from stages.common.program import run  # noqa: E402

FULL = "mount -t tmpfs -o size=64k none {folder} && exec python -m stages.{project}.prepare"
"""A stage whose disk is full, in a namespace of its own."""


def full_disk(place: kills.Place) -> Counter[str]:
    """Run prepare of each project on a full disk: one sentence, and afterwards all as it was."""
    outcomes: Counter[str] = Counter()
    if place.tried("unshare --mount --map-root-user mount -t tmpfs none /mnt").returncode:
        outcomes["not tried: this system lets no user mount a disk"] += 1
        return outcomes
    before = place.hashes(), place.files()
    for project in projects.names():
        shell = FULL.format(folder=f"data/{project}", project=project)
        done = place.tried("unshare", "--mount", "--map-root-user", "sh", "-c", shell)
        said = done.stderr.strip().splitlines()[-1:] or [""]
        held = done.returncode == 1 and said[0].startswith("error:") and "Traceback" not in done.stderr
        outcomes["held" if held else f"lost: {project}: exit code {done.returncode}: {done.stderr[-2000:]}"] += 1
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
    return {
        "a full disk": full_disk(place),
        "make repro, twice at once": twice(place),
        "stages killed": kills.run(place, seed, count, minutes, project),
    }


def costly() -> Counter[str]:
    """Measure the costliest bodies in a process of its own, because it forks."""
    program = Path(costs.__file__)
    path = os.pathsep.join(map(str, (program.parents[2], program.parents[1])))
    command = [sys.executable, str(program), *projects.names()]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True, check=False
    )
    print(done.stdout)
    lines = done.stdout.splitlines()
    outcomes = Counter(f"lost: {line[5:]}" if line.startswith("LOST") else "held" for line in lines)
    return (
        outcomes if done.returncode in (0, 1) and lines else outcomes + Counter([f"lost: exit code {done.returncode}"])
    )


def main(seed: int, minutes: float, kills: int, project: str | None, part: list[str]) -> None:
    parts: dict[str, Callable[[Path], dict[str, Counter[str]]]] = {
        "load": lambda folder: {"mixed load": load.run(folder, seed, 0.25 * minutes)},
        "hostile": lambda folder: {"hostile requests and archives": hostile.run(folder, seed, round(20 * minutes))},
        "costs": lambda folder: {"costly bodies": costly()},
        "pipeline": lambda folder: pipeline(folder, seed, 0.4 * minutes, kills, project),
    }
    found: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory(prefix="torture-") as name:
        for one in part or parts:
            begin = time.monotonic()
            folder = Path(name, one)
            folder.mkdir()
            found |= parts[one](folder)
            print(f"{one}: {time.monotonic() - begin:.0f} s", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{'what':34}{'tried':>9}{'held':>9}{'lost':>9}")
    lost: Counter[str] = Counter()
    for what, outcomes in found.items():
        bad = Counter({words: number for words, number in outcomes.items() if words.startswith("lost")})
        tried = sum(number for words, number in outcomes.items() if not words.startswith("not tried"))
        print(f"{what:34}{tried:9}{tried - bad.total():9}{bad.total():9}")
        lost += bad
        for words in outcomes:
            if words.startswith("not tried"):
                print(f"  {words}")
    for words, number in lost.most_common(50):
        print(f"{number:6} x {words}")
    if lost:
        raise InputError(f"{lost.total()} attacks were not withstood, see above")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60, help="about how long, at most (%(default)g)")
    parser.add_argument("--kills", type=int, default=20, help="how many stages are killed at most (%(default)s)")
    parser.add_argument("--project", choices=projects.names(), help="kill only this project's stages")
    parser.add_argument("--part", action="append", default=[], choices=["load", "hostile", "costs", "pipeline"], help="only this part; repeatable")  # fmt: skip


if __name__ == "__main__":
    os.environ.pop("DVC_STAGE", None)
    run(main, arguments)
