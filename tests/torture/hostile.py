"""Generated requests and archives: each is answered or refused with its cause, nothing ends in a traceback.

Hypothesis makes bodies and archives. schemathesis makes requests from the server's own description of its interface.
"""

import gzip
import json
import tarfile
from collections import Counter
from pathlib import Path

import httpx
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from load import served, traceback_of
from model_servers import schemathesis
from sound_requests import GOOD

from stages import projects
from stages.common.models import bundle

REFUSED = (400, 404, 413, 415, 422, 429, 503)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=12), inner, max_size=12),
    max_leaves=60,
)
KINDS = st.sampled_from(
    ["image/png", "application/json", "application/x-npy", "text/csv", "image/png; several=true", ""]
)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """``content`` with pieces replaced, cut out or doubled."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 64)))
        content = content[:start] + draw(st.binary(max_size=64) | st.just(3 * content[start:end])) + content[end:]
    return content


BODIES = (
    st.binary(max_size=2000)
    | VALUES.map(lambda value: json.dumps(value).encode())
    | VALUES.map(lambda value: json.dumps({"images": value}).encode())
    | st.lists(st.lists(st.text(max_size=8), max_size=12), max_size=8).map(lambda rows: "\n".join(map(",".join, rows)).encode(errors="replace"))
    | st.sampled_from([body for requests in GOOD.values() for body, _ in requests]).flatmap(damaged)
)  # fmt: skip

RECORDS = [
    b"24 GNU.sparse.map=0,1,1\n29 GNU.sparse.size=999999999\n",
    b"19 path=../../evil\n",
    b"20 size=99999999999\n",
]
"""Contents of an extended header."""

MEMBERS = st.lists(
    st.tuples(
        st.sampled_from(["a", "a/b", "../a", "/tmp/torture-a", ".", "", "a/../../b", "x" * 300, "a/" * 1500 + "b"]) | st.text(max_size=20),
        st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME]),
        st.sampled_from(RECORDS) | st.binary(max_size=300),
        st.integers(0, 2**34) | st.none(),
    ),
    max_size=6,
)  # fmt: skip


def archive(members: list[tuple[str, bytes, bytes, int | None]]) -> bytes:
    """A .tar.gz whose members may claim another size than they have."""
    parts = []
    for name, kind, content, size in members:
        entry = tarfile.TarInfo(name.replace("\0", "") or "a")
        entry.type, entry.linkname = kind, "../../etc/passwd"
        entry.size = len(content) if size is None else size
        parts.append(entry.tobuf(tarfile.GNU_FORMAT, "utf-8", "replace") + content + bytes(-len(content) % 512))
    return gzip.compress(b"".join([*parts, bytes(1024)]))


def run(folder: Path, number: int, examples: int) -> Counter[str]:
    """Returns the outcomes by kind."""
    outcomes: Counter[str] = Counter()
    usual = settings(
        max_examples=examples, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )  # fmt: skip

    @seed(number)
    @usual
    @given(st.sampled_from(list(projects.names())), BODIES, KINDS)
    def send(project: str, body: bytes, kind: str) -> None:
        answer = client.post(f"/models/{project}/invocations", content=body, headers={"Content-Type": kind})
        keys = {"code", "message"}
        sound = answer.status_code == 200 or (answer.status_code in REFUSED and answer.json().keys() == keys)
        outcomes["held: bodies" if sound else f"lost: {project} {kind} {body[:80]!r}: {answer.text[:100]}"] += 1

    @seed(number)
    @usual
    @given(MEMBERS.map(archive) | MEMBERS.map(archive).flatmap(damaged))
    def unpack(content: bytes) -> None:
        place = folder / "archives" / str(sum(outcomes.values()))
        place.mkdir(parents=True)
        (place / "model.tar.gz").write_bytes(content)
        try:
            bundle.unpack(place / "model.tar.gz", place / "unpacked")
        except tarfile.TarError:
            pass
        except Exception as error:
            outcomes[f"lost: an archive ended in {type(error).__name__}: {error}"] += 1
        beside = {path.name for path in (folder / "archives").rglob("*") if path.is_symlink() or path.is_fifo()}
        strange = {path.name for path in place.iterdir()} - {"model.tar.gz", "unpacked"}
        outcomes["lost: an archive wrote outside" if beside or strange else "held: archives"] += 1

    unpack()
    with served(folder / "server", page=True) as one:
        with httpx.Client(base_url=one.address, trust_env=False, timeout=120) as client:
            send()
        done = schemathesis(one, folder, f"--seed={number}", f"--max-examples={max(1, examples // 5)}")
        outcomes[f"lost: schemathesis: {done.stdout[-2000:]}" if done.returncode else "held: schemathesis"] += 1
        if (outcome := traceback_of(one)).startswith("lost"):
            outcomes[outcome] += 1
    return outcomes
