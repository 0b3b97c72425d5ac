"""Mixed load on the server, while its models are killed and the exports are exchanged under it.

A good request holds if its answer is the one that the same request got before all attacks, or 503 or 429 with Retry-After.
The server's memory has to stay the same, and SIGTERM has to end it soon.
"""

import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any

import connections
import httpx
import psutil
from conftest import ROOT
from model_servers import Served, archive, server, until
from sound_requests import GOOD

from stages import projects
from stages.serving.comparison import TOLERANCE

GROWTH = 1.2  # of the memory, from the first half of the time to the second

END = 12.0  # s from SIGTERM to the end

CLIENTS = 2  # for each project


@contextmanager
def served(folder: Path, *options: str, page: bool = False) -> Iterator[Served]:
    """A server of this checkout's exports, copied to ``folder``."""
    for project in projects.names():
        shutil.copytree(ROOT / "models" / project / "export", folder / "models" / project / "export")
        (folder / "reports" / project).mkdir(parents=True)
        for name in ("metrics.json", "details.json"):
            shutil.copy(ROOT / "reports" / project / name, folder / "reports" / project)
    shutil.copy(ROOT / "dvc.lock", folder)
    with server(folder, *options, page=page) as one:
        yield one


def ask(client: httpx.Client, project: str, body: bytes, kind: str) -> tuple[int, Any]:
    """The status, and the predictions or the answer of a refusal."""
    answer = client.post(f"/models/{project}/invocations", content=body, headers={"Content-Type": kind})
    if answer.status_code in (429, 503) and "retry-after" in answer.headers:
        return 503, None
    return answer.status_code, answer.json().get("predictions", answer.text)


def alike(one: Any, other: Any) -> bool:
    """Whether two answers are the same but for numbers' last digits, which depend on what else is in a model's batch."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= TOLERANCE * max(1, abs(one))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)


def first_answer(client: httpx.Client, project: str, body: bytes, kind: str) -> tuple[int, Any]:
    """The answer when the model is not busy."""
    found: tuple[int, Any] = until(lambda: (one := ask(client, project, body, kind))[0] != 503 and one, 400)
    return found


def asks_well(one: Served, project: str, over: Event, choose: random.Random) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    with one.client() as client:
        expected = [first_answer(client, project, *request) for request in GOOD[project]]
        while not over.is_set():
            number = choose.randrange(len(expected))
            try:
                found = ask(client, project, *GOOD[project][number])
            except httpx.TransportError as error:
                found = 0, type(error).__name__
            if found[0] == 200 and alike(found, expected[number]):
                outcomes["held"] += 1
            elif found[0] == 503:
                outcomes["held: 503 with Retry-After"] += 1
                time.sleep(0.2)
            else:
                outcomes[f"lost: {project} got {str(found)[:200]}"] += 1
    return outcomes


def asks_badly(one: Served, over: Event, choose: random.Random) -> Counter[str]:
    """Damaged, endless, slow and dropped requests. Returns the internal errors."""
    outcomes: Counter[str] = Counter()
    with one.client() as client:
        while not over.is_set():
            project = choose.choice(list(projects.names()))
            body, kind = choose.choice(GOOD[project])
            changed = bytearray(body)
            for _ in range(choose.choice((1, 5, 50))):
                changed[choose.randrange(len(changed))] = choose.randrange(256)
            way = choose.randrange(4)
            try:
                if way == 0:
                    status, _ = ask(client, project, bytes(changed), kind)
                    outcomes["lost: a damaged body got 500" if status == 500 else "held: damaged"] += 1
                elif way == 1:
                    connections.endless(one, 2_000_000)
                    outcomes["held: endless header"] += 1
                else:  # announces more than it sends, and goes, at once or later
                    with one.connect() as connection:
                        head = f"POST /models/{project}/invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: {2 * len(body)}\r\n\r\n"
                        connection.sendall(head.encode() + body)
                        over.wait(0.1 if way == 2 else 2)
                    outcomes["held: unfinished"] += 1
            except (httpx.TransportError, OSError):
                outcomes["held: cut off"] += 1
            over.wait(0.2)
    return outcomes


INTRUDER = """
from pathlib import Path
Path({ran!r}).touch()
def model_fn(model_dir):
    raise RuntimeError("this is not the model that was checked")
"""
"""Code of an archive that no one checked. It says if it runs."""


def exchange(folder: Path) -> None:
    """Replace the archive of each export below ``folder``: by a sound one with other code, by half of it, by garbage."""
    for number, path in enumerate(sorted(folder.glob("models/*/export/model.tar.gz"))):
        whole = path.read_bytes()
        if number % 3 == 0:
            archive(path.parent, INTRUDER.format(ran=str(folder / "ran")))
        else:
            path.write_bytes(whole[: len(whole) // 2] if number % 3 == 1 else b"exchanged")


def kill_models(one: Served, kills: int, minutes: float) -> None:
    """Kill the oldest model that many times, evenly over the time, so all in turns. Before the second, exchange the exports."""
    for number in range(kills):
        time.sleep(60 * minutes / (kills + 1))
        if number == 1:
            exchange(one.log.parent)
        min(one.children(), key=psutil.Process.create_time).kill()
    time.sleep(60 * minutes / (kills + 1))


def watch_memory(one: Served, over: Event) -> Counter[str]:
    """Compare the largest proportional set size of all the server's processes in both halves of the time."""
    sizes = []
    while not over.wait(5):
        total = 0
        for process in [psutil.Process(one.process.pid), *one.children()]:
            with suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
        sizes.append(total / 1e9)
    half = len(sizes) // 2
    if not half:
        return Counter(["not tried: too short to compare the memory of both halves"])
    early, late = max(sizes[:half]), max(sizes[half:])
    outcome = "held" if late <= GROWTH * early else "lost"
    return Counter([f"{outcome}: {early:.2f} GB of memory at first, later {late:.2f} GB"])


def run(folder: Path, seed: int, minutes: float) -> dict[str, Counter[str]]:
    """Returns the outcomes by attack and by kind: `held...` and `lost: ...`."""
    choose, over, kills = random.Random(seed), Event(), max(2, round(minutes / 2))
    whole = Counter[str]()
    with served(folder, "--queue=64") as one:
        attacked = connections.run(one)
        with ThreadPoolExecutor(20) as pool:
            clients = [
                pool.submit(asks_well, one, name, over, random.Random(choose.random()))
                for name in projects.names()
                for _ in range(CLIENTS)
            ]
            attackers = [pool.submit(asks_badly, one, over, random.Random(choose.random())) for _ in range(3)]
            memory = pool.submit(watch_memory, one, over)
            kill_models(one, kills, minutes)
            over.set()
            well = sum((client.result() for client in clients), Counter())
            badly = sum((attacker.result() for attacker in attackers), Counter())
            whole += memory.result()
        exchanged = after_exchange(one, folder)
        seconds = one.stopped()
        whole[f"{'held' if seconds < END else 'lost'}: {seconds:.1f} s from SIGTERM to the end"] += 1
        whole[traceback_of(one)] += 1
    return {
        "/ping, its median while others attack": attacked,
        f"good requests in {minutes:g} minutes of mixed load with {kills} killed models": well,
        "damaged, endless and unfinished requests beside them": badly,
        "exports replaced while they are served, then killed": exchanged,
        "the server under this load": whole,
    }


def traceback_of(one: Served) -> str:
    """The outcome, in words."""
    _, found, rest = one.log.read_text().partition("Traceback")
    return f"lost: a traceback in the log: {rest[:3000]}" if found else "held: no traceback in the log"


def after_exchange(one: Served, folder: Path) -> Counter[str]:
    """Ask each model, which was started again after its archive was replaced, and look for traces of the other code."""
    outcomes: Counter[str] = Counter()
    with one.client() as client:
        until(lambda: client.get("/ping").status_code == 200, 120)
        for project, requests in GOOD.items():
            status, _ = ask(client, project, *requests[0])
            outcomes["held" if status == 200 else f"lost: {project} answers {status}"] += 1
    ran = (folder / "ran").exists()
    outcomes["lost: code that was not checked has run" if ran else "held: no other code has run"] += 1
    return outcomes
