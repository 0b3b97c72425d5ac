"""The stand-in for AWS as a process of this machine."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3

from stages.common.program import InputError
from stages.scones.aws.stand_in.functions import CREDENTIALS

ROOT = Path(__file__).parents[4]
SERVER = Path(__file__).with_name("server.py")


@contextmanager
def stand_in(region: str) -> Iterator[boto3.Session]:
    """A session with an AWS, empty at first, that is a process on this machine.

    The process, those that it has started and all their ports are gone when the block ends, also when this process is
    killed. Inside the block this process knows nothing of its user's own AWS settings, so that nothing can go there.
    """
    own = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    nothing = {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        for name in own:
            del os.environ[name]
        os.environ |= {**nothing, **CREDENTIALS, "AWS_DEFAULT_REGION": region}
        with _server() as address:
            os.environ["AWS_ENDPOINT_URL"] = address
            yield boto3.Session()
    finally:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ |= own


@contextmanager
def _server() -> Iterator[str]:
    """Its address."""
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.{SERVER.stem}"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        try:
            assert server.stdout
            address = server.stdout.readline().decode().strip()
            if not address:
                log.seek(0)
                raise InputError(f"AWS's stand-in ended at its start: {log.read().decode(errors='replace')[-500:]}")
            yield address
        finally:
            with server:
                try:
                    server.communicate(timeout=30)  # closes its standard input, at which it ends
                except subprocess.TimeoutExpired:
                    server.kill()
