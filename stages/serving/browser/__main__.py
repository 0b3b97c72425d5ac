"""Write a page that classifies pictures in the browser, without a server: one HTML file with the network in it.

    python -m stages.serving.browser mnist landmarks      # reports/pages/mnist.html, landmarks.html

Open the file, or put it on any web server. It loads nothing from anywhere, and pictures stay in the browser. It contains
`model.onnx` of the project's export, and onnxruntime-web, which npm downloads on the first run, 33 MB. Its hash is checked.
"""

import argparse
import base64
import gzip
import hashlib
import html
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import jinja2
import onnx

from stages import projects
from stages.common import files, temporary
from stages.common.errors import InputError
from stages.common.program import run
from stages.serving import exports

PACKAGE = "onnxruntime-web@1.30.0"
SHA512 = (
    "ab4cbe26baedba45d2cec05610c71c55fa97db92d19a8b171c5f8269126683ca"
    "590a5cdc57bb2f35ce2b298de32f4d956fb42644c0ecd528a0a91e025c07ca61"
)
"""Of the package's file at npm's registry."""

SCRIPT, WASM = "package/dist/ort.wasm.bundle.min.mjs", "package/dist/ort-wasm-simd-threaded.wasm"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onnxruntime-web"

HERE = Path(__file__).parent
OWN = "page/browser.js"
"""A project's own code for its page. It converts the user's pictures to the network's images."""


def with_page() -> list[str]:
    """Return the projects that have such a page."""
    return [name for name in projects.names() if own(name).exists()]


def own(project: str) -> Path:
    return HERE.parents[1] / project / OWN


def runtime() -> Path:
    """Return onnxruntime-web's package, downloaded by npm on the first call. Raise InputError if that fails."""
    name = PACKAGE.replace("@", "-") + ".tgz"
    if not (CACHE / name).exists():
        if not shutil.which("npm"):
            raise InputError(f"npm not found: install it to download {PACKAGE} (Debian: apt install npm)")
        with temporary.folder("npm") as folder:
            command = ["npm", "pack", PACKAGE, "--silent", "--pack-destination", str(folder)]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode or not (folder / name).exists():
                raise InputError(f"npm can't download {PACKAGE}: {done.stderr.strip() or 'it does not say why'}")
            CACHE.mkdir(parents=True, exist_ok=True)
            with files.new_file(CACHE / name) as partial:
                shutil.copyfile(folder / name, partial)
    found = files.digest(CACHE / name, "sha512")
    if found != SHA512:
        raise InputError(f"{CACHE / name} is not the file of {PACKAGE} (its SHA-512 is {found[:16]}...): delete it")
    return CACHE / name


def class_names(model: bytes) -> list[str]:
    metadata = {entry.key: entry.value for entry in onnx.load_model_from_string(model).metadata_props}
    return [str(name) for name in json.loads(metadata["class_names"])]


def packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def page(project: str, model: bytes, script: bytes, wasm: bytes) -> str:
    """Return the page. Its parts, text or bytes, are packed with gzip, and its script unpacks them."""
    template = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined)  # noqa: S701  each part is escaped here
    code = (HERE / "page.js").read_text() + own(project).read_text()
    digest = base64.b64encode(hashlib.sha256(f"\n{code}".encode()).digest()).decode()
    return template.from_string((HERE / "page.html").read_text()).render(
        title=html.escape(projects.about(project).title),
        version=hashlib.sha256(model).hexdigest()[:12],
        digest=digest,
        code=code,
        classes=json.dumps(class_names(model)).replace("<", "\\u003c"),
        parts={"script": packed(script), "wasm": packed(wasm), "model": packed(model)},
    )


def main(project: Sequence[str], folder: Path) -> None:
    found, missing = exports.find(project)
    if missing:
        raise InputError("; ".join(missing.values()))
    with tarfile.open(runtime()) as package:
        script, wasm = (package.extractfile(name).read() for name in (SCRIPT, WASM))  # type: ignore[union-attr]
    folder.mkdir(parents=True, exist_ok=True)
    for name, export in found.items():
        model = export.archive.with_name("model.onnx").read_bytes()
        path = folder / f"{name}.html"
        with files.new_file(path) as partial:
            partial.write_text(page(name, model, script, wasm))
        print(f"{path}, {path.stat().st_size / 1e6:.1f} MB: open it in a browser")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", nargs="+", choices=with_page())
    parser.add_argument("--folder", type=Path, default=Path("reports/pages"), help="for the pages (reports/pages)")


if __name__ == "__main__":
    run(main, arguments)
