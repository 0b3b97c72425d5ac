"""Exports in other versions of torch, each in an environment of its own, which stays in the user's cache for the next run."""

from pathlib import Path

import pytest
import torch
from conftest import ROOT
from tiny_exports import PROJECTS

from benchmarks import reach
from stages.common import files
from stages.common.models import torch_files


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for project, (_, write, shapes) in PROJECTS.items():
        (folder / project).mkdir()
        torch.manual_seed(0)
        write(folder / project / "model.pt")
        generator = torch.Generator().manual_seed(0)
        pictures = [torch.randint(0, 256, (1, *shape[1:]), dtype=torch.uint8, generator=generator) for shape in shapes]
        reach.write_case(folder / project, pictures)
    return folder


@pytest.mark.long
@pytest.mark.timeout(3600)  # the first run downloads 4 GB for each version where only PyPI can be reached
@pytest.mark.parametrize("which", ["oldest", "sagemaker", "newest"])
def test_torchscript_gives_the_same_answers_in_other_versions_of_torch(models: Path, which: str) -> None:
    version = {"oldest": reach.OLDEST, "sagemaker": reach.sagemaker(), "newest": reach.newest()}[which]
    found = reach.measure(version, models)
    assert set(found) == set(PROJECTS)
    for project, forms in found.items():
        assert forms["model.pt"].get("error") is None, (version, project)
        assert forms["model.pt"]["changed"] == 0
        assert forms["model.pt"]["difference"] <= 1e-5


def test_the_measured_versions_are_those_that_the_exports_name() -> None:
    versions = files.read_json(ROOT / "benchmarks/results/reach.json")["versions"]
    readable = {
        version: all("error" not in forms["model.pt2"] for forms in found.values())
        for version, found in versions.items()
    }
    since = tuple(map(int, torch_files.READABLE_SINCE.split(".")))
    assert {True, False} == set(readable.values())
    for version, reads in readable.items():
        assert reads is (tuple(map(int, version.split(".")))[:2] >= since), version
        assert all("error" not in forms["model.pt"] for forms in versions[version].values()), version
