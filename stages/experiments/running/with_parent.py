"""Runs a command that ends with its starter: `python -m stages.experiments.running.with_parent COMMAND...`, standard input a pipe.

When the starter dies, by `kill -9` even, its end of the pipe closes: then the command is killed, and what it started.
"""

import os
import signal
import subprocess
import sys
import threading


def main(command: list[str]) -> int:
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as process:

        def watch() -> None:
            while os.read(sys.stdin.fileno(), 1024):
                pass
            os.killpg(process.pid, signal.SIGKILL)

        threading.Thread(target=watch, daemon=True).start()
        return process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
