"""Run a command that is killed when its parent ends: `python -m stages.experiments.running.with_parent COMMAND...`.

Standard input is a pipe from the parent. When the parent ends, even by `kill -9`, the pipe closes. Then the command and
all processes in its group are killed.
"""

import os
import signal
import subprocess
import sys

from stages.serving.container import parent


def main(command: list[str]) -> int:
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        parent.when_it_ends(lambda: os.killpg(process.pid, signal.SIGKILL))
        return process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
