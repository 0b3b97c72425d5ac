"""What tests share: a place to run stages in, the real data where it is to hand, clones of this repository."""

import fcntl
import gc
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import fsspec
import httpx
import psutil
import pytest
from checkouts import ALONE, Checkout, make_workspace, mnist_alone, set_parameters, with_results
from moto.server import ThreadedMotoServer
from playwright.sync_api import Browser, expect, sync_playwright
from ray_clusters import running
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

from stages.cluster.local import Running

ROOT = Path(__file__).parents[1]
REAL_DATA = Path(os.environ.get("REAL_DATA", ROOT.parent / "shared" / "data"))

CHROMIUM = Path("/usr/bin/chromium")
QUIET = [
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]

Run = Callable[..., subprocess.CompletedProcess[str]]
Change = Callable[[dict[str, Any]], None]
Started = Callable[[], list[psutil.Process]]


FIRST = ("test_docs.py", "test_notebooks.py", "test_pipeline.py")
"""Files that take longest. They start first, with the clusters' in one process and the others in another."""

LAST = "test_cluster.py"
"""The cluster's file that kills nodes: the last one of those that share a cluster."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect the tests without the collector of garbage: all that they import stays, and searching it takes seconds."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first and the short ones of `common` last, so that no process is left with a long one at the end."""

    def place(item: pytest.Item) -> tuple[bool, bool, bool]:
        clusters, name = bool(CLUSTERS.search(str(item.path))), item.path.name
        return item.path.parent.name == "common", not clusters and name not in FIRST, clusters and name == LAST

    items.sort(key=place)


CLUSTERS = re.compile(r"/test_(ray\w*|cluster|sweep)\.py$")


class ClustersInTurn(LoadFileScheduling):
    """Gives each file of tests to one worker, and all files that use a Ray cluster to the same one.

    Most of them share one. Clusters that start side by side take longer than the 30 s that Ray gives a node.
    """

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "clusters" if CLUSTERS.search(file) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ClustersInTurn:
    return ClustersInTurn(config, log)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project root with this project's params.yaml and metrics/, as the working folder."""
    make_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def change(workspace: Path) -> Change:
    """Changes parameters of the workspace by their dotted names."""

    return lambda settings: set_parameters(Path("params.yaml"), settings)


@pytest.fixture
def started() -> Started:
    """The processes that this test has started, and they in turn, and that are still there."""
    before = set(psutil.Process().children(recursive=True))
    return lambda: [one for one in psutil.Process().children(recursive=True) if one not in before]


@pytest.fixture
def python() -> Run:
    """Runs `python ARGUMENTS` in the working folder, with the project's stages importable."""

    def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, **options)  # type: ignore[call-overload, no-any-return]

    return run


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all processes of this test run share."""
    own = tmp_path_factory.getbasetemp()
    folder = (own if worker_id == "master" else own.parent) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def once(result: Path) -> Iterator[bool]:
    """Whether the block has to make ``result``: the first process does, and the others wait for it."""
    with result.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not result.exists()


@pytest.fixture(scope="session")
def pipeline(shared: Path) -> Path:
    """This checkout, whose models, data and reports are those of its code: `dvc repro` has run."""
    state = shared / "state"
    with once(state) as first:
        if first:
            command = [str(Path(sys.executable).with_name("dvc")), "--wait-for-lock", "status", "--quiet"]
            state.write_text(str(subprocess.run(command, cwd=ROOT, capture_output=True).returncode))
    if state.read_text() != "0":
        message = "the pipeline's results are not there or not of this code: `dvc repro` makes them"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return ROOT


@pytest.fixture(scope="session")
def results(pipeline: Path, shared: Path) -> Checkout:
    """A clone with this checkout's results, whose cache it shares. Tests work in copies of it."""
    return Checkout(_made(shared / "results", with_results))


@pytest.fixture(scope="session")
def mnist_results(pipeline: Path, shared: Path) -> Checkout:
    """A checkout of mnist alone, with its results in a cache of its own. Tests work in copies of it."""
    return Checkout(_made(shared / "mnist", mnist_alone), ALONE)


def _made(root: Path, make: Callable[[Path], Checkout]) -> Path:
    with once(root) as first:
        if first:
            partial = root.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            make(partial).root.rename(root)
    return root


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The real data sets, one folder a project; set REAL_DATA to their place."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real data at {REAL_DATA}: set REAL_DATA")
    return REAL_DATA


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """boto3's client of a stand-in for S3 with an empty bucket, `bucket`, which all that is started meanwhile takes for S3."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "stand-in")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # of another test's, with its address
    httpx.post(f"http://{host}:{port}/moto-api/reset")  # what another test's stand-in had in this process
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    yield client
    client.close()
    server.stop()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Running]:
    """A Ray cluster of two nodes with one core each. The files that use it share it; `LAST` is the file that ends it."""
    with running() as started:
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for one file of tests: while it runs, its process can start neither another one nor `asyncio.run`."""
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail("chromium not found: apt install chromium")
        pytest.skip("chromium not found: apt install chromium")
    expect.set_options(timeout=30_000)  # ms: the machine may have other work to do
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", *QUIET, *CAMERA]
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        yield chromium
        chromium.close()
