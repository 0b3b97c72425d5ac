"""The image of one model: the steps of its Dockerfile, run without Docker in a root folder of their own, and what they make."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import ROOT
from model_servers import until

from stages.common.errors import InputError
from stages.scones import layout
from stages.serving import image

BASE = {"debian:12-slim": "bookworm"}
"""Images that a Dockerfile begins with, and the release of Debian whose smallest system they are."""


def steps(dockerfile: Path) -> list[tuple[str, str]]:
    """Each instruction and what it is given."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE).replace("\\\n", "")
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def found(dockerfile: Path, wanted: str) -> list[str]:
    return [rest for word, rest in steps(dockerfile) if word == wanted]


def command(dockerfile: Path, word: str) -> list[str]:
    """The command that an instruction has as a JSON list."""
    (rest,) = found(dockerfile, word)
    return [str(part) for part in json.loads(rest[rest.index("[") :])]


@pytest.fixture
def context(pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(pipeline)
    image.write_context(Path("models/scones/export/model.tar.gz"), tmp_path / "context")
    return tmp_path / "context"


def test_the_image_has_only_packages_with_a_hash_and_none_of_cuda(context: Path) -> None:
    packages = (context / "requirements.txt").read_text()
    names = re.findall(r"^([\w.-]+)==", packages, re.MULTILINE)
    assert {"torch", "numpy", "starlette", "uvicorn"} <= set(names)
    assert not [name for name in names if re.match("nvidia|cuda|triton|boto|dvc|autogluon", name)]
    assert all("--hash=sha256:" in block for block in packages.split("\n\n")[0].split("==")[1:])


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(["hadolint", image.DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_without_a_builder_the_build_context_is_named(
    pipeline: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(pipeline)
    monkeypatch.setattr(image, "CONTEXTS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="neither docker nor podman found: install one, or build .*/mnist where"):
        image.main("mnist", None, only_files=False)
    with pytest.raises(InputError, match="'v9.0.0' is not registered"):
        image.main("mnist", "v9.0.0", only_files=False)
    assert (tmp_path / "mnist" / "model" / "second.pt").exists()


SETTINGS = ("/etc/pip.conf", "/etc/xdg/pip", "/etc/apt", "/etc/resolv.conf", "/etc/hosts")
CERTIFICATES = ("/usr/local/share/ca-certificates", "/etc/ssl/certs/ca-certificates.crt")
"""What pip and apt need of this machine. They get copies: what a package's installation writes must not reach the machine."""

READ_ONLY = [folder for folder in os.environ.get("PIP_FIND_LINKS", "").split() if folder.startswith("/")]
"""Folders in which pip looks for packages."""

DEVICES = ("null", "zero", "random", "urandom")


def furnish(root: Path) -> None:
    """Copy this machine's settings of pip and apt into ``root``, and make the places for its mounts."""
    needed = filter(os.path.exists, (*SETTINGS, *CERTIFICATES))
    subprocess.run(["cp", "--recursive", "--dereference", "--parents", *needed, root], check=True)
    for name in READ_ONLY:
        (root / name[1:]).mkdir(parents=True, exist_ok=True)
    for name in DEVICES:
        (root / "dev" / name).touch()


def entered(root: Path, command: str, *, writable: bool) -> list[str]:
    """Return a command that runs ``command`` with ``root`` as `/`, in namespaces of its own."""
    lines = [f"mount --make-rprivate /; mount --bind {root} {root}; mount -t proc proc {root}/proc"]
    lines += [f"mount --bind /dev/{name} {root}/dev/{name}" for name in DEVICES]
    for name in filter(os.path.exists, READ_ONLY):
        lines.append(f"mount --bind {name} {root}{name}; mount -o remount,bind,ro {root}{name}")
    lines += [] if writable else [f"mount -o remount,bind,ro {root}"]
    script = "; ".join([*lines, f'exec chroot {root} sh -ec "$1"'])
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", script, "sh", command]


def built(context: Path, root: Path) -> None:
    """Run the Dockerfile's steps in ``root``, as a build would."""
    (base,) = found(context / "Dockerfile", "FROM")
    subprocess.run(["debootstrap", "--variant=minbase", BASE[base], str(root)], check=True, capture_output=True)
    furnish(root)
    for word, rest in steps(context / "Dockerfile"):
        if word == "COPY":
            source, target = rest.split()
            inside = root / target.removeprefix("/")
            inside.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (context / source).is_dir() else shutil.copyfile)(context / source, inside)
        elif word == "RUN":
            environment = os.environ | {"PIP_RETRIES": "0"}  # where PyTorch's index can't be reached
            step = entered(root, rest, writable=True)
            done = subprocess.run(step, capture_output=True, text=True, env=environment, check=False)
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_built_image_predicts_as_evaluate_for_an_unprivileged_user_on_a_read_only_file_system(
    context: Path, tmp_path: Path
) -> None:
    if os.geteuid() or not shutil.which("debootstrap"):
        pytest.skip("to build without Docker takes root and debootstrap: apt install debootstrap")
    root, dockerfile = tmp_path / "root", context / "Dockerfile"
    built(context, root)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = dict(part.split("=") for rest in found(dockerfile, "ENV") for part in shlex.split(rest))
    environment["SAGEMAKER_BIND_TO_PORT"] = str(port)
    (user,), (folder,) = found(dockerfile, "USER"), found(dockerfile, "WORKDIR")
    user, group = user.split(":")
    inside = ["env", "-i", *[f"{name}={value}" for name, value in environment.items()]]
    inside += [
        "setpriv",
        f"--reuid={user}",
        f"--regid={group}",
        "--clear-groups",
        "--bounding-set=-all",
        "--no-new-privs",
    ]

    def run(arguments: list[str]) -> list[str]:
        return entered(root, f"cd {folder}; exec {shlex.join([*inside, *arguments])}", writable=False)

    health = run(command(dockerfile, "HEALTHCHECK"))
    assert subprocess.run(health, capture_output=True, check=False).returncode != 0  # nothing runs yet
    written = subprocess.run(run(["touch", "/tmp/file"]), capture_output=True, check=False)
    assert b"Read-only file system" in written.stderr
    log = tmp_path / "log"
    serving = run(command(dockerfile, "ENTRYPOINT") + command(dockerfile, "CMD"))
    with log.open("w") as output:
        server = subprocess.Popen(serving, stdout=output, stderr=output)
    try:
        address = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            until(lambda: server.poll() is not None or reachable(client), 120)
            assert server.poll() is None, log.read_text()
            assert subprocess.run(health, check=False).returncode == 0
            with np.load(ROOT / "data/scones/features/test.npz") as test:
                pictures = test["images"][:40]
            client.headers.update({"Content-Type": "image/png", "Accept": "application/json; verbose=true"})
            answers = [client.post("/invocations", content=layout.png(picture)).json() for picture in pictures]
        expected = np.load(ROOT / "reports/scones/evaluation/probabilities.npy")[: len(pictures)]
        predicted = [answer["probabilities"][0] for answer in answers]
        np.testing.assert_allclose(np.array(predicted), expected, atol=1e-5)
    finally:
        server.kill()  # unshare kills what it started
        server.wait(60)


def reachable(client: httpx.Client) -> bool:
    try:
        return client.get("/ping").status_code == 200
    except httpx.TransportError:
        return False
