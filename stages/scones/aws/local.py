"""The stand-in for AWS as a process of this machine."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.common.program import InputError
from stages.scones.aws.stand_in import server as program

ROOT = Path(__file__).parents[3]


@contextmanager
def stand_in() -> Iterator[str]:
    """The address of an AWS, empty at first, that is a process on this machine.

    The process, those that it has started and all their ports are gone when the block ends, also when this process is
    killed. It reads nothing of the user's own credentials and settings.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"PYTHONPATH": str(ROOT), "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            [sys.executable, "-m", program.__name__],
            env=environment,
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
            with server:  # closes its standard input, at which it ends
                try:
                    server.communicate(timeout=30)
                except subprocess.TimeoutExpired:
                    server.kill()
