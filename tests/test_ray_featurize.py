"""featurize@landmarks on a Ray cluster of two nodes: the same bytes, whoever dies meanwhile, and errors in one line."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, Change
from ray.cluster_utils import Cluster
from test_landmarks_row import contents, write_photographs

from stages.common.program import InputError
from stages.landmarks import featurize, prepare

pytestmark = pytest.mark.slow

FEATURES = Path("data/landmarks/features")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    write_photographs(folder)
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes with a core each."""
    node = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "include_dashboard": False, "object_store_memory": 10**8}
    made = Cluster(initialize_head=True, head_node_args=node)
    made.add_node(num_cpus=1, node_ip_address="127.0.0.1", object_store_memory=10**8)
    yield made
    made.shutdown()


@pytest.fixture
def local(change: Change, photographs: Path, cluster: Cluster) -> dict[str, bytes]:
    """The features as this machine's own processes make them, 48 shards of one photograph; the next ones are the cluster's."""
    change(
        {
            "data.landmarks.source": str(photographs),
            "data.landmarks.size": 450,
            "data.landmarks.shard": 1,
            "data.landmarks.valid_fraction": 0.25,
        }
    )
    prepare.main()
    featurize.main()
    change({"engine.kind": "ray", "engine.address": cluster.address, "engine.timeout": 30})
    found = contents(FEATURES)
    assert len(found) == 48 + 4
    return found


def test_a_worker_killed_in_the_middle_changes_nothing(
    local: dict[str, bytes], cluster: Cluster, workspace: Path
) -> None:
    stage = subprocess.Popen(
        [sys.executable, "-m", "stages.landmarks.featurize"], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    partial = FEATURES.with_name(f".{FEATURES.name}.partial")
    deadline = time.monotonic() + 100
    while len(list(partial.glob("*.tar"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.005)
    victim = next(one for one in workers(cluster) if "MapBatches" in name(one) or "Map(" in name(one))
    victim.kill()
    assert len(list(partial.glob("*.tar"))) < 48, "killed too late"
    assert stage.wait(120) == 0
    assert contents(FEATURES) == local


def workers(cluster: Cluster) -> list[psutil.Process]:
    """The cluster's processes that do work."""
    raylets = [psutil.Process(node.all_processes["raylet"][0].process.pid) for node in cluster.list_all_nodes()]
    return [one for raylet in raylets for one in raylet.children(recursive=True)]


def name(process: psutil.Process) -> str:
    """What Ray calls a worker by what it does; empty when it has just ended."""
    try:
        return process.cmdline()[0]
    except (psutil.NoSuchProcess, IndexError):
        return ""


def test_a_damaged_photograph_is_one_line_and_nothing_changes(local: dict[str, bytes]) -> None:
    archive = Path("data/landmarks/raw/train.zip")
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 255
    archive.write_bytes(content)
    with pytest.raises(InputError, match=r"train\.zip: \w+/\d+\.\w+: bad CRC-32.*prepare@landmarks"):
        featurize.main()
    assert contents(FEATURES) == local


def test_too_few_places_are_told_of_and_not_waited_for(local: dict[str, bytes], change: Change) -> None:
    change({"engine.workers": 3, "engine.timeout": 1})
    with pytest.raises(InputError, match=r"engine\.workers = 3, each with 1 CPUs.* of 2 CPUs"):
        featurize.main()
    assert contents(FEATURES) == local


def test_nodes_without_this_folder_work_by_way_of_the_storage(
    local: dict[str, bytes], change: Change, tmp_path: Path
) -> None:
    change({"engine.storage": str(tmp_path / "storage")})
    featurize.main()
    train = {name for name in local if name.startswith("train-")}
    shards = {path.name: path.read_bytes() for path in (tmp_path / "storage").rglob("*") if path.is_file()}
    assert shards == {name: local[name] for name in train}
    assert all(content == local[name] for name, content in contents(FEATURES).items() if name != "train.npz")
