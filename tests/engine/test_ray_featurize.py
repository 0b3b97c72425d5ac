"""featurize@landmarks on a Ray cluster of two nodes: the same bytes, whoever dies meanwhile, and errors in one line."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, Change, Run
from ray_clusters import workers
from small_photographs import contents, write_photographs

from benchmarks import workspace
from stages.cluster.local import Running
from stages.common.errors import InputError
from stages.landmarks import featurize, prepare

pytestmark = pytest.mark.slow

FEATURES = Path("data/landmarks/features")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project root whose features this machine's own processes have made, 48 shards of one photograph."""
    root, source = tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("photographs")
    write_photographs(source)
    changes = {"source": str(source), "size": 700, "shard": 1, "valid_fraction": 0.25}
    workspace.create(root, {"data": {"landmarks": changes}, "engine": {"timeout": 30}})
    with chdir(root):
        prepare.main()
        featurize.main()
    return root


@pytest.fixture
def local(prepared: Path, change: Change, cluster: Running) -> dict[str, bytes]:
    """The features as they were made here; the next ones are the cluster's."""
    shutil.copytree(prepared, Path.cwd(), dirs_exist_ok=True)
    change({"engine.kind": "ray", "engine.address": cluster.address})
    found = contents(FEATURES)
    assert len(found) == 48 + 4
    return found


def test_a_worker_killed_in_the_middle_changes_nothing(local: dict[str, bytes], cluster: Running) -> None:
    command = [sys.executable, "-m", "stages.landmarks.featurize"]
    stage = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    partial = FEATURES.with_name(f".{FEATURES.name}.partial")
    deadline = time.monotonic() + 300
    busy: list[psutil.Process] = []
    while not (busy and any(partial.glob("*.tar"))) and time.monotonic() < deadline:
        busy = workers(cluster, "_Worker")
        time.sleep(0.02)
    busy[0].kill()
    assert len(list(partial.glob("*.tar"))) < 48, "killed too late"
    assert stage.wait(300) == 0
    assert contents(FEATURES) == local


@pytest.mark.long
def test_a_damaged_photograph_is_one_line_and_nothing_changes(local: dict[str, bytes]) -> None:
    archive = Path("data/landmarks/raw/train.zip")
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 255
    archive.write_bytes(content)
    with pytest.raises(InputError, match=r"train\.zip: \w+/\d+\.\w+: bad CRC-32.*prepare@landmarks"):
        featurize.main()
    assert contents(FEATURES) == local


@pytest.mark.long
def test_too_few_slots_are_reported_without_waiting(local: dict[str, bytes], change: Change) -> None:
    change({"engine.workers": 3, "engine.timeout": 1})
    expected = r"engine\.workers = 3 of 1 cores .* found no room .* has 2 x a node of 1 cores"
    with pytest.raises(InputError, match=expected):
        featurize.main()
    assert contents(FEATURES) == local


@pytest.mark.long
def test_out_of_memory_is_reported_in_one_line_and_nothing_changes(
    local: dict[str, bytes], change: Change, python: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray ends workers where a machine's memory is used up to a threshold; here it always is."""
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.01")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    change({"engine.address": None})  # a cluster of its own, which has these variables
    done = python("-m", "stages.landmarks.featurize")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: engine: a worker was lost repeatedly, ")
    assert contents(FEATURES) == local


@pytest.mark.long
def test_nodes_without_this_folder_use_the_storage(local: dict[str, bytes], change: Change, tmp_path: Path) -> None:
    change({"engine.storage": str(tmp_path / "storage")})
    featurize.main()
    train = {name for name in local if name.startswith("train-")}
    shards = {path.name: path.read_bytes() for path in (tmp_path / "storage").rglob("*") if path.is_file()}
    assert shards == {name: local[name] for name in train}
    assert all(content == local[name] for name, content in contents(FEATURES).items() if name != "train.npz")
