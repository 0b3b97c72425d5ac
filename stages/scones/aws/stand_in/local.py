"""Run the stand-in for AWS as a process on this machine."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import boto3

from stages.common.errors import InputError

LOOPBACK = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
"""Settings that keep requests to this machine away from a proxy."""

NOT_SIMULATED = (
    "permissions: no role or bucket policy is enforced",
    "quotas and throttling, prices, the types of instances, the time that they need to start",
    "alarms of several metrics; the others are evaluated when they are read and while an endpoint is updated",
    "CloudWatch's logs and metric filters; email and text messages",
    "automatic scaling, several instances of a variant, serverless cold starts",
    "encryption with your key, networks, traces, versions and expiry of objects",
    "schedules of EventBridge other than rate(...), of which an hour takes 10 seconds; its repetition of failed calls",
    "layers of functions, the repetition of failed asynchronous calls",
    "the 512 MB limit of /tmp, the CPU that goes with a function's memory",
)
"""Features of AWS that the stand-in lacks."""

ROOT = Path(__file__).parents[4]
SERVER = f"{__package__}.{Path(__file__).with_name('server.py').stem}"


@contextmanager
def stand_in(region: str, server: str = SERVER) -> Iterator[boto3.Session]:
    """Start a stand-in for AWS, the module ``server``, as a process on this machine, empty at first. Yield a session with it.

    The process, those that it has started and all their ports are gone when the block ends, and also if this process is
    killed. Inside the block the user's own AWS settings are removed, so that no request can go there.
    """
    own = _settings()
    nothing = {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        for name in own:
            del os.environ[name]
        os.environ |= {**nothing, **LOOPBACK, "AWS_DEFAULT_REGION": region}
        with _server(server) as (address, key):
            os.environ |= {"AWS_ENDPOINT_URL": address, **credentials(key)}
            yield boto3.Session()
    finally:
        for name in _settings():
            del os.environ[name]
        os.environ |= own


def credentials(key: str) -> dict[str, str]:
    """Return settings for boto3 to sign with. The stand-in checks only the access key."""
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": "stand-in"}


def _settings() -> dict[str, str]:
    """Return this process's settings for the address and the credentials of AWS, and for proxies."""
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_") or name in LOOPBACK}


def keep(region: str, server: str = SERVER) -> tuple[dict[str, str], int]:
    """Start a stand-in that runs until it is ended. Return the settings with which clients find it, and its process id.

    The settings are set in this process, too.
    """
    for name in _settings():
        del os.environ[name]
    os.environ |= {**LOOPBACK, "AWS_DEFAULT_REGION": region}
    with tempfile.TemporaryFile() as log:
        started = _start(server, log, ["--keep"])
        address, key = _announced(started, log)
    found = {"AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": region, **credentials(key), **LOOPBACK}
    os.environ |= found
    return found, started.pid


def _start(module: str, log: IO[bytes], options: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
    own = filter(None, [os.environ.get("PYTHONPATH")])
    return subprocess.Popen(
        [sys.executable, "-m", module, *options],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *own])},
        stdin=subprocess.DEVNULL if options else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=bool(options),  # Ctrl-C in the terminal does not reach it
    )


def _announced(server: "subprocess.Popen[bytes]", log: IO[bytes]) -> tuple[str, str]:
    """Return the address and the access key of a server that has been started. Raise InputError if it ended."""
    assert server.stdout
    address, _, key = server.stdout.readline().decode().strip().partition(" ")
    if not address:
        log.seek(0)
        raise InputError(f"AWS's stand-in failed to start: {log.read().decode(errors='replace')[-500:]}")
    return address, key


@contextmanager
def _server(module: str) -> Iterator[tuple[str, str]]:
    """Start the server ``module``. Yield its address and its access key."""
    with tempfile.TemporaryFile() as log:
        server = _start(module, log)
        try:
            yield _announced(server, log)
        finally:
            with server:
                try:
                    server.communicate(timeout=30)  # closes its standard input, which ends it
                except subprocess.TimeoutExpired:
                    server.kill()
