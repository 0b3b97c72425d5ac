"""Publishing trained models: on a stand-in for the Hugging Face Hub, and on a bucket that others read over HTTP."""

import base64
import json
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkouts import Checkout
from file_servers import Handler, serving

from stages.common.errors import InputError
from stages.experiments import upload

pytestmark = pytest.mark.slow

TOKEN = "hf_of_a_test"
EXPORT = Path("models/mnist/export")


Repositories = dict[str, dict[str, bytes]]


class Hub(Handler):
    """What the Hub answers to an upload: repositories with their files, for one token."""

    repositories: Repositories

    def respond(self) -> None:
        body = self.content()
        if self.path != "/api/validate-yaml" and self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.say({"error": "Invalid username or password."}, 401)
            return
        parts = self.path.split("?")[0].split("/")
        name = "/".join(parts[3:5])
        if parts[2] == "repos":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            there = name in self.repositories
            self.repositories.setdefault(name, {})
            self.say({"url": f"http://{self.headers['Host']}/{name}"}, 409 if there else 200)
        elif parts[2] == "validate-yaml":
            front = yaml.safe_load(json.loads(body)["content"].split("---")[1])
            self.say({"errors": [] if front["model-index"] else [{"message": "none"}], "warnings": []})
        elif parts[5] == "preupload":
            same = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            self.say({"files": [{"path": one["path"], **same} for one in json.loads(body)["files"]]})
        else:
            assert parts[5] == "commit"
            values = [line["value"] for line in map(json.loads, body.splitlines()) if line["key"] == "file"]
            self.repositories[name] |= {value["path"]: base64.b64decode(value["content"]) for value in values}
            url = f"http://{self.headers['Host']}/{name}/commit/0123"
            self.say({"success": True, "commitOid": "0123", "commitUrl": url})

    def say(self, content: Any, status: int = 200) -> None:
        self.answer(json.dumps(content).encode(), status, Content_Type="application/json")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repositories]:
    found: Repositories = {}
    with serving(type("Handler", (Hub,), {"repositories": found})) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found


def test_models_are_published_with_their_cards(
    mnist_results: Checkout, hub: Repositories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3: Any
) -> None:
    project = mnist_results.copy(tmp_path / "checkout")
    recipe: dict[str, Any] = {"project": "mnist", "description": "one epoch", "set": {"mnist.epochs": 1}, "seeds": [0]}
    recipe |= {"published": {}, "expected": {}, "memory": 2.0}
    (project.root / "recipes.yaml").write_text(yaml.safe_dump({"tiny": recipe}))
    project.dvc("remote", "add", "public", f"{s3.meta.endpoint_url}/bucket/models")
    project.run("git", "commit", "--quiet", "--all", "--message", "a recipe and a public remote")
    project.experiment("tiny", {"mnist.epochs": 1}, "train@mnist", "evaluate@mnist", "export@mnist")
    with chdir(project.root):
        upload.main("hub:somebody", "mnist", private=False)
        assert set(hub) == {"somebody/mnist", "somebody/tiny"}
        current = hub["somebody/mnist"]
        assert current.pop("README.md") == (EXPORT / "model_card.md").read_bytes()
        assert current == {path.name: path.read_bytes() for path in EXPORT.iterdir() if path.name != "model_card.md"}
        other = hub["somebody/tiny"]["README.md"].decode()
        assert "| `mnist.epochs` | `1` |" in other
        front = yaml.safe_load(other.split("---")[1])
        assert front["license"] == "mit"
        assert front["pipeline_tag"] == "image-classification"
        assert hub["somebody/tiny"]["model.tar.gz"] != current["model.tar.gz"]

        def refused(to: str, words: str) -> None:
            with pytest.raises(InputError, match=words):
                upload.main(to, "mnist", private=False)

        monkeypatch.setenv("HF_TOKEN", "another")
        refused("hub:somebody", r"can't upload somebody/mnist to the Hub \(.*401.*\): check the token, the name")
        monkeypatch.delenv("HF_TOKEN")
        monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
        monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
        refused("hub:somebody", "no token for the Hugging Face Hub: set HF_TOKEN")
        refused("nowhere", "'nowhere' is not a destination: expected hub:NAME, or a DVC remote, one of storage")

    project.dvc("remote", "add", "--local", "writable", "s3://bucket/models")
    shown = project.run("python", "-m", "stages.experiments.upload", "writable", "mnist")
    assert "dvc exp push --no-cache origin tiny" in shown
    anyone = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"}
    s3.put_bucket_policy(Bucket="bucket", Policy=json.dumps({"Version": "2012-10-17", "Statement": [anyone]}))
    project.run("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    clone = Checkout(tmp_path / "clone")
    clone.dvc("pull", "--remote", "public", "export@mnist")
    assert (clone.root / EXPORT / "model.pt").read_bytes() == current["model.pt"]
    clone.run("git", "fetch", "--quiet", str(project.root), "refs/exps/*:refs/exps/*")
    clone.dvc("exp", "branch", "tiny", "with-tiny")
    clone.run("git", "switch", "--quiet", "with-tiny")
    clone.dvc("pull", "--remote", "public", "export@mnist")
    assert (clone.root / EXPORT / "model.pt").read_bytes() == hub["somebody/tiny"]["model.pt"]
