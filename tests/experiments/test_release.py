"""A model's versions: what may be released, what a release brings back, and deploy serving one in place of the pipeline's export."""

import hashlib
import json
import shutil
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkouts import ALONE, Checkout, set_parameters

from stages.common.errors import InputError
from stages.experiments import release

pytestmark = pytest.mark.slow

ARCHIVE = Path("models/mnist/export/model.tar.gz")
RELEASE = ("python", "-m", "stages.experiments.release")


@pytest.fixture(scope="module")
def released(mnist_results: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A project with mnist@v1.0.0, and later another model as the pipeline's own."""
    folder = tmp_path_factory.mktemp("released")
    project = with_remote(mnist_results.copy(folder / "checkout"), str(folder / "dvc-storage"))
    project.dvc("push")
    shown = project.run(*RELEASE, "mnist", "v1.0.0")
    assert "mnist v1.0.0: data sample, test accuracy 9" in shown
    project.stages({"mnist.epochs": 3}, "train@mnist", "evaluate@mnist", "export@mnist")
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "three epochs")
    return project


def with_remote(project: Checkout, url: str) -> Checkout:
    """Let the default remote be one that clones reach, too."""
    project.dvc("remote", "modify", "storage", "url", url)
    project.run("git", "commit", "--quiet", "--all", "--message", "remote")
    return project


def digest(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_an_unreproducible_release_is_refused_in_one_line(mnist_results: Checkout, tmp_path: Path) -> None:
    project = mnist_results.copy(tmp_path / "checkout")

    def refused(words: str, name: str = "mnist", version: str = "v1.0.0") -> None:
        with chdir(project.root), pytest.raises(InputError, match=words):
            release.main(name, version)
        assert project.run("git", "tag") == ""

    refused("'minst' is not a project: expected one of mnist", name="minst")
    for version in ("v01.0.0", "v1.0.0-rc1"):
        refused("is not a version: expected vMAJOR.MINOR.PATCH, such as v1.0.0", version=version)
    refused("the default remote is ../../dvc-storage, a path beside this checkout: set an address that others reach")
    with_remote(project, "s3://bucket/prefix").dvc("remote", "modify", "--local", "storage", "url", "/elsewhere")
    refused("url is /elsewhere only in this checkout, .dvc/config says s3://bucket/prefix: set")
    project.dvc("remote", "modify", "--local", "--unset", "storage", "url")
    with_remote(project, str(tmp_path / "dvc-storage"))
    push = "so nobody else could get the release: run `dvc push --with-deps deploy@mnist plot@mnist`"
    refused(f"data/mnist/features.*{push}")
    parameters = project.root / "params.yaml"
    parameters.write_text(parameters.read_text().replace("  batch_size: 64", "  batch_size: 32"))
    refused("params.yaml is not committed")
    project.run("git", "commit", "--quiet", "--all", "--message", "not run")
    refused("not up to date: run `dvc repro deploy@mnist plot@mnist` and commit")
    (project.root / "stages/mnist/other.py").write_text("")
    refused("stages/mnist/other.py is not committed")


def test_a_version_is_an_annotated_tag_with_the_metrics(released: Checkout) -> None:
    assert released.run("git", "cat-file", "-t", "mnist@v1.0.0") == "tag\n"
    message = released.run("git", "tag", "--list", "--format=%(contents)", "mnist@v1.0.0")
    metrics = json.loads(released.run("git", "show", "mnist@v1.0.0:reports/mnist/metrics.json"))
    assert f"test accuracy {metrics['accuracy']:.2%}" in message


def test_a_version_that_is_taken_or_lower_is_refused(released: Checkout) -> None:
    for version, why in (("v1.0.0", "already registered"), ("v0.9.0", "below the last version")):
        shown = released.run(*RELEASE, "mnist", version, check=False)
        assert shown == f"error: mnist@{version} is {why}: expected a version above v1.0.0\n"


def test_a_released_archive_is_available_by_the_url_of_the_repository(
    mnist_results: Checkout, s3: Any, tmp_path: Path
) -> None:
    """Get it as somebody else does, who has neither the checkout nor its cache."""
    released = with_remote(mnist_results.copy(tmp_path / "checkout"), "s3://bucket/prefix")
    released.dvc("push")
    released.run(*RELEASE, "mnist", "v1.0.0")
    lock = yaml.safe_load(released.run("git", "show", "mnist@v1.0.0:dvc.lock"))
    [folder] = [out for out in lock["stages"]["export@mnist"]["outs"] if out["path"] == "models/mnist/export"]
    listing = released.cache / folder["md5"][:2] / folder["md5"][2:]
    expected = {one["relpath"]: one["md5"] for one in json.loads(listing.read_text())}
    published = tmp_path / "published.git"
    released.run("git", "clone", "--quiet", "--bare", ".", str(published))
    (tmp_path / "other").mkdir()
    other, url = Checkout(tmp_path / "other", ALONE), f"file://{published}"
    other.run("git init -q && dvc init -q")
    other.dvc("artifacts", "get", url, "mnist", "--rev", "v1.0.0", "--out", str(tmp_path / "got.tar.gz"))
    assert digest(tmp_path / "got.tar.gz") == expected["model.tar.gz"]
    for command in ("get", "import"):
        other.dvc(command, url, str(ARCHIVE), "--rev", "mnist@v1.0.0", "--out", f"{command}.tar.gz")
        assert digest(other.root / f"{command}.tar.gz") == expected["model.tar.gz"]
    shutil.unpack_archive(tmp_path / "got.tar.gz", tmp_path / "got")
    assert digest(tmp_path / "got/README.md") == expected["model_card.md"]


@pytest.mark.parametrize("way", ["--quiet", pytest.param("--temp", marks=pytest.mark.long)])
def test_deploy_serves_a_released_version_compared_with_its_own_evaluation(
    released: Checkout, tmp_path: Path, way: str
) -> None:
    project = released.copy(tmp_path / "checkout")
    own = digest(project.root / ARCHIVE)
    project.dvc("exp", "run", way, "--name", "old", "-S", "deploy.mnist.version=v1.0.0", "deploy@mnist")
    project.dvc("exp", "apply", "old")
    then = json.loads(project.run("git", "show", "mnist@v1.0.0:reports/mnist/metrics.json"))
    told = {"version": "v1.0.0", "data": "sample", "rows": 1000, "known": 1000, "accuracy": then["accuracy"]}
    assert project.json("reports/mnist/deploy.json") == told
    assert project.json("reports/mnist/metrics.json")["accuracy"] != then["accuracy"]
    assert digest(project.root / ARCHIVE) == own


def test_an_unavailable_version_is_reported_in_one_line(released: Checkout, tmp_path: Path) -> None:
    project = released.copy(tmp_path / "checkout")

    def refused(version: str, *module: str) -> str:
        set_parameters(project.root / "params.yaml", {"deploy.mnist.version": version})
        shown = project.run("python", "-m", *module, check=False)
        assert project.returncode == 1
        return shown.splitlines()[-1]

    assert "deploy.mnist.version = '1.0' is not allowed: expected pattern '^v" in refused("1.0", "stages.check")
    unknown = refused("v7.0.0", "stages.mnist.deploy")
    assert "mnist: version 'v7.0.0' is not registered: expected v1.0.0" in unknown
    shutil.rmtree(project.root / ".dvc/cache")
    project.dvc("remote", "modify", "--local", "storage", "url", str(tmp_path / "nowhere"))
    gone = refused("v1.0.0", "stages.mnist.deploy")
    assert "error: mnist@v1.0.0: models/mnist/export/model.tar.gz is neither in DVC's cache nor on its remote" in gone
    assert "dvc fetch" in gone
