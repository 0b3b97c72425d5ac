"""Where results are shared: a folder beside the checkout, S3 after one command; a push that fails half way leaves nothing broken."""

import hashlib
import json
import logging
import re
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from checkouts import Checkout
from conftest import ROOT
from moto.backends import get_backend
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

pytestmark = pytest.mark.slow

BUCKET = "results"
UP_TO_DATE = "Data and pipelines are up to date.\n"


@pytest.fixture
def project(mnist_results: Checkout, tmp_path: Path) -> Checkout:
    return mnist_results.copy(tmp_path / "checkout")


Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Storage:
    """S3 on this machine. After ``good`` uploads, it refuses the others, or keeps them waiting."""

    def __init__(self) -> None:
        self.good = 10**9
        self.waits = False
        self.uploads = 0
        self.requests: set[tuple[str, str, str]] = set()
        self.stuck, self.released = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # no line for each request
        self._moto: Application = DomainDispatcherApplication(create_backend_app)
        self.server = make_server("127.0.0.1", 0, self, threaded=True)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.client = boto3.client("s3", endpoint_url=self.address, region_name="us-east-1",
                                   aws_access_key_id="testing", aws_secret_access_key="testing")  # fmt: skip

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.requests.add((environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"]))
        if environ["REQUEST_METHOD"] == "PUT" and environ["PATH_INFO"].count("/") > 1:
            with self._lock:
                self.uploads += 1
                fails = self.uploads > self.good
            if fails and self.waits:
                self.stuck.set()
                self.released.wait()
            if fails:
                start("500 Internal Server Error", [("Connection", "close")])
                return [b"<Error><Code>InternalError</Code></Error>"]
        return self._moto(environ, start)

    def fail_after(self, good: int, waits: bool = False) -> None:
        self.good, self.uploads, self.waits = good, 0, waits

    def objects(self) -> dict[str, bytes]:
        """What is stored, by its place in a cache."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {
            key.partition("files/md5/")[2]: self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
            for key in keys
        }


@pytest.fixture
def storage() -> Iterator[Storage]:
    found = Storage()
    threading.Thread(target=found.server.serve_forever, daemon=True).start()
    found.client.create_bucket(Bucket=BUCKET)
    yield found
    found.released.set()
    found.server.shutdown()
    get_backend("s3").reset()


def documented(setting: str) -> list[str]:
    """The command in docs/storage.md that sets ``setting`` of the remote."""
    [found] = set(re.findall(rf"^\$ (dvc remote modify --local storage {setting} \S+)", DOCUMENT, re.MULTILINE))
    return str(found).split()


DOCUMENT = (ROOT / "docs/storage.md").read_text()


@pytest.fixture
def on_s3(project: Checkout, storage: Storage) -> Checkout:
    """The project, switched to S3 by the commands in docs/storage.md."""
    project.run(*documented("url")[:-1], f"s3://{BUCKET}/prefix")
    project.run(*documented("endpointurl")[:-1], storage.address)
    return project


def whole(objects: dict[str, bytes]) -> bool:
    """Whether each object has the content of its name, and each folder's list all that it names."""
    contents = all(
        hashlib.md5(body).hexdigest() == name.replace("/", "").removesuffix(".dir") for name, body in objects.items()
    )
    lists = [json.loads(body) for name, body in objects.items() if name.endswith(".dir")]
    return contents and all(f"{one['md5'][:2]}/{one['md5'][2:]}" in objects for listing in lists for one in listing)


def check_shared(project: Checkout, in_sync: str) -> None:
    """Check that a checkout whose results are gone gets them from the remote."""
    there = project.objects()
    project.wipe()
    project.dvc("pull")
    assert project.objects() == there
    assert project.dvc("status") == UP_TO_DATE
    assert in_sync in project.dvc("status", "--cloud")
    assert project.run("git", "status", "--porcelain") == ""  # the remote's address is in config.local alone


def test_results_are_shared_by_a_folder_beside_the_checkout(project: Checkout) -> None:
    there = project.objects()
    assert f"{len(there)} files pushed" in project.dvc("push")
    storage = project.root.parent / "dvc-storage/files/md5"
    assert {path.relative_to(storage).as_posix() for path in storage.rglob("*") if path.is_file()} == there
    check_shared(project, "Cache and remote 'storage' are in sync.\n")


def test_results_are_shared_by_s3_after_one_command(on_s3: Checkout, storage: Storage) -> None:
    there = on_s3.objects()
    storage.requests.clear()
    on_s3.dvc("push")
    assert {method for method, _, _ in storage.requests} <= {"GET", "HEAD", "PUT"}
    for _, path, query in storage.requests:  # what the policy in docs/storage.md allows
        assert path.startswith(f"/{BUCKET}/prefix/") or re.search(r"prefix=prefix(%2F|$|&)", query), (path, query)
    assert storage.objects().keys() == there
    assert whole(storage.objects())
    assert on_s3.dvc("push") == "Everything is up to date.\n"
    check_shared(on_s3, "in sync")
    assert not (on_s3.root.parent / "dvc-storage").exists()


def test_a_push_that_fails_and_one_that_is_killed_are_finished_by_the_next(on_s3: Checkout, storage: Storage) -> None:
    there = on_s3.objects()
    storage.fail_after(10)
    shown = on_s3.dvc("push", "--jobs", "4", check=False)
    assert on_s3.returncode
    assert "failed to push data to the cloud" in shown
    check_half_pushed(storage, there)
    storage.fail_after(10, waits=True)
    with subprocess.Popen(**on_s3.command("dvc", "push", "--jobs", "4"), stderr=subprocess.DEVNULL) as process:
        assert storage.stuck.wait(60)
        process.kill()
    storage.released.set()
    stored = check_half_pushed(storage, there)
    storage.good = 10**9
    kept = on_s3.copy(on_s3.root.with_name("kept"))
    on_s3.wipe()
    on_s3.dvc("pull", check=False)  # brings what the remote has
    assert on_s3.objects() >= {name for name in stored if name.endswith(".dir")}
    kept.dvc("push")
    assert storage.objects().keys() == there
    assert whole(storage.objects())


def check_half_pushed(storage: Storage, there: set[str]) -> set[str]:
    """Check that the remote has some of the objects, each of them whole. Returns their names."""
    stored = storage.objects()
    assert 0 < len(stored) < len(there)
    assert whole(stored)
    return set(stored)


def test_damaged_objects_of_the_remote_do_not_arrive_and_can_be_put_back(on_s3: Checkout, storage: Storage) -> None:
    on_s3.dvc("push")
    stages = yaml.safe_load((on_s3.root / "dvc.lock").read_text())["stages"]
    md5s = {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}
    file, folder = md5s["reports/mnist/confusion.csv"], md5s["models/mnist/export"]
    inner = json.loads(storage.objects()[f"{folder[:2]}/{folder[2:]}"])[0]["md5"]
    keys = {f"prefix/files/md5/{md5[:2]}/{md5[2:]}": on_s3.cache / md5[:2] / md5[2:] for md5 in (file, inner)}
    good = {key: path.read_bytes() for key, path in keys.items()}
    for key in keys:
        storage.client.put_object(Bucket=BUCKET, Key=key, Body=b"damaged")
    on_s3.wipe()
    shown = on_s3.dvc("pull", check=False)
    assert on_s3.returncode
    for output in ("reports/mnist/confusion.csv", "models/mnist/export"):
        assert output in shown
        assert not (on_s3.root / output).exists()
    assert (on_s3.root / "data/mnist/features/train.npz").exists()
    for key, content in good.items():  # from another checkout's cache: it is laid out as the remote is
        storage.client.put_object(Bucket=BUCKET, Key=key, Body=content)
    on_s3.dvc("pull")
    assert on_s3.dvc("status") == UP_TO_DATE
