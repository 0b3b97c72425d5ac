"""Publishing trained models: on a stand-in for the Hugging Face Hub, and on a bucket that others read over HTTP."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import chdir
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkouts import Checkout

from stages.common.errors import InputError
from stages.experiments import upload

pytestmark = pytest.mark.slow

TOKEN = "hf_of_a_test"
EXPORT = Path("models/mnist/export")


class Hub(BaseHTTPRequestHandler):
    """What the Hub answers to an upload: repositories with their files, for one token."""

    repositories: dict[str, dict[str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/api/validate-yaml" and self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.answer(401, {"error": "Invalid username or password."})
            return
        parts = self.path.split("?")[0].split("/")
        name = "/".join(parts[3:5])
        if parts[2] == "repos":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            there = name in self.repositories
            self.repositories.setdefault(name, {})
            self.answer(409 if there else 200, {"url": f"http://{self.headers['Host']}/{name}"})
        elif parts[2] == "validate-yaml":
            front = json.loads(body)["content"].split("---")[1]
            self.answer(
                200, {"errors": [] if yaml.safe_load(front)["model-index"] else [{"message": "none"}], "warnings": []}
            )
        elif parts[5] == "preupload":
            asked = json.loads(body)["files"]
            found = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None} for one in asked
            ]
            self.answer(200, {"files": found})
        else:
            assert parts[5] == "commit"
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    self.repositories[name][value["path"]] = base64.b64decode(value["content"])
            url = f"http://{self.headers['Host']}/{name}/commit/0123"
            self.answer(200, {"success": True, "commitOid": "0123", "commitUrl": url})

    def answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, dict[str, bytes]]]:
    found: dict[str, dict[str, bytes]] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Hub,), {"repositories": found}))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield found
    server.shutdown()
    server.server_close()


def test_models_are_published_with_their_cards(
    mnist_results: Checkout, hub: dict[str, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3: Any
) -> None:
    project = mnist_results.copy(tmp_path / "checkout")
    recipes: dict[str, dict[str, Any]] = {
        "tiny": {"project": "mnist", "description": "one epoch", "set": {"mnist.epochs": 1}, "seeds": [0]}
    }
    recipes["tiny"] |= {"published": {}, "expected": {}, "memory": 2.0}
    (project.root / "recipes.yaml").write_text(yaml.safe_dump(recipes))
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

        monkeypatch.setenv("HF_TOKEN", "another")
        with pytest.raises(
            InputError, match=r"can't upload somebody/mnist to the Hub \(.*401.*\): check the token, the name"
        ):
            upload.main("hub:somebody", "mnist", private=False)
        monkeypatch.delenv("HF_TOKEN")
        monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
        monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
        with pytest.raises(InputError, match="no token for the Hugging Face Hub: set HF_TOKEN"):
            upload.main("hub:somebody", "mnist", private=False)
        with pytest.raises(
            InputError, match="'nowhere' is not a destination: expected hub:NAME, or a DVC remote, one of storage"
        ):
            upload.main("nowhere", "mnist", private=False)

    project.dvc("remote", "add", "--local", "writable", "s3://bucket/models")
    shown = project.run("python", "-m", "stages.experiments.upload", "writable", "mnist")
    assert "dvc exp push --no-cache origin tiny" in shown
    anyone: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::bucket/*",
    }
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
