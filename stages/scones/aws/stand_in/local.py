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
    nothing = {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    own = _exchanged({**nothing, **LOOPBACK, "AWS_DEFAULT_REGION": region})
    try:
        with tempfile.TemporaryFile() as log, _started(server, log) as process:
            try:
                address, key = _announced(process, log)
                os.environ |= {"AWS_ENDPOINT_URL": address, **credentials(key)}
                yield boto3.Session()
            finally:
                try:
                    process.communicate(timeout=30)  # closes its standard input, which ends it
                except subprocess.TimeoutExpired:
                    process.kill()
    finally:
        _exchanged(own)


def credentials(key: str) -> dict[str, str]:
    """Return settings for boto3 to sign with. The stand-in checks only the access key."""
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": "stand-in"}


def _exchanged(settings: dict[str, str]) -> dict[str, str]:
    """Give this process these settings of AWS and of proxies instead of its own, which are returned."""
    names = [name for name in os.environ if name.startswith("AWS_") or name in LOOPBACK]
    own = {name: os.environ.pop(name) for name in names}
    os.environ |= settings
    return own


def keep(region: str, server: str = SERVER) -> tuple[dict[str, str], int]:
    """Start a stand-in that runs until it is ended. Return the settings with which clients find it, and its process id.

    The settings are set in this process, too.
    """
    _exchanged({**LOOPBACK, "AWS_DEFAULT_REGION": region})
    with tempfile.TemporaryFile() as log:
        process = _started(server, log, ["--keep"])
        address, key = _announced(process, log)
    found = {"AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": region, **credentials(key), **LOOPBACK}
    os.environ |= found
    return found, process.pid


def _started(module: str, log: IO[bytes], options: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
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
