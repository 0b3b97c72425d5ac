"""Send files to a running server (`make serve`) and print its predictions.

python -m stages.serving.client landmarks photograph.jpg another.png
python -m stages.serving.client mnist digit.png --top 3
python -m stages.serving.client bikes hours.csv > forecast.csv      # Kaggle's columns; .json: a list of objects
python -m stages.serving.client scones - < picture.png
"""

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any

import httpx

from stages import projects
from stages.common.errors import InputError
from stages.common.program import run
from stages.serving.__main__ import TOKEN

ADDRESS = "http://127.0.0.1:8080"


def read(name: str) -> bytes:
    """Return the bytes of a file, or of standard input for ``-``. Raise InputError if it can't be read."""
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise InputError(f"{name}: {error.strerror}") from None


TYPES = {".csv": "text/csv", ".json": "application/json", ".npy": "application/x-npy"}
"""Content types by a file's suffix. Other files are pictures or, for bikes, CSV."""


def content_type(project: str, name: str) -> str:
    other = "text/csv" if "text/csv" in projects.about(project).accepts else "application/octet-stream"
    return TYPES.get(Path(name).suffix.lower(), other)  # the server detects a picture's format itself


def ask(client: httpx.Client, project: str, name: str, top: int) -> httpx.Response:
    """Request predictions for a file. Raise InputError with the server's message if it refuses."""
    accept = "text/csv" if "text/csv" in projects.about(project).accepts else "*/*"
    headers, content = {"Content-Type": content_type(project, name), "Accept": accept}, read(name)
    try:
        response = client.post(f"/models/{project}/invocations?top={top}", content=content, headers=headers)
    except httpx.TimeoutException:
        raise InputError(f"{client.base_url} did not answer in time: allow more seconds with --timeout") from None
    except (httpx.TransportError, httpx.InvalidURL):
        raise InputError(f"{client.base_url} does not answer: start the server with `make serve`") from None
    if response.status_code != 200:
        try:
            message = response.json()["message"]
        except (ValueError, KeyError):
            message = response.text[:200]
        raise InputError(f"{name}: HTTP {response.status_code}: {message}")
    return response


def lines(name: str, answer: dict[str, Any]) -> list[str]:
    """Return the predictions for a picture as lines for a terminal."""
    rows = [f"{name}  ({answer['project']} {answer['version'][:8]}, {answer['milliseconds']:.1f} ms)"]
    for prediction in answer["predictions"]:
        if prediction.get("known") is False:
            rows.append("  looks like none of the classes; if it were one of them:")
        for one in prediction["top"]:
            bar = "#" * round(40 * one["probability"])
            known = one.get("latitude") is not None
            coordinates = f"  {one['latitude']:.4f}, {one['longitude']:.4f}" if known else ""
            rows.append(f"  {one['probability']:7.2%}  {one['class']:<24} {bar}{coordinates}")
    return rows


def main(project: str, files: list[str], address: str, token: str | None, top: int, timeout: float) -> None:
    if not re.fullmatch(r"https?://([\w.-]+|\[[\da-f:]+\])(:\d{1,5})?(/\S*)?", address):
        raise InputError(f"--address: found {address!r}, expected http:// or https:// and a name, such as {ADDRESS}")
    token = token or os.environ.get(TOKEN)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    failed = []
    with httpx.Client(base_url=address, headers=headers, timeout=timeout, trust_env=False) as client:
        for name in files:
            try:
                response = ask(client, project, name, top)
            except InputError as error:  # the other files are still sent
                failed.append(str(error))
                continue
            print(response.text.rstrip() if project == "bikes" else "\n".join(lines(name, response.json())))
    if failed:
        raise InputError("; ".join(failed))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", choices=list(projects.names()))
    parser.add_argument("files", nargs="+", help="files to send; - is standard input")
    parser.add_argument("--address", default=ADDRESS, help="the server's address (%(default)s)")
    parser.add_argument("--token", help=f"the server's token; default: the environment variable {TOKEN}")
    parser.add_argument("--top", type=int, default=5, help="classes per picture (%(default)s)")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds per request (%(default)s)")


if __name__ == "__main__":
    run(main, arguments)
