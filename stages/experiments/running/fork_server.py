"""Import a project's packages once, then run its stages in forks of this process: torch and timm take seconds to import.

python -m stages.experiments.running.fork_server CONNECTION PROJECT     (`quick_dvc` starts it)

A fork has the output, environment and process group that a process of its own would have, and imports all modules of
`stages` itself, so that an edit counts. The server ends with the process that started it.
"""

import gc
import os
import runpy
import signal
import sys
import warnings
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

import stages
from stages import projects


def preload(project: str) -> None:
    """Import the `packages` of the project's `about.py`. A stage reports a missing or broken one when it runs."""
    with suppress(Exception):
        for package in projects.about(project).packages:
            import_module(package)
    # A checkpoint's name depends on the loaded modules of `stages`: unload those that are loaded here.
    for name in [name for name in sys.modules if name.startswith("stages.")]:
        del sys.modules[name]
        vars(stages).pop(name.split(".")[1], None)
    gc.freeze()  # a collection in a fork would copy all objects' memory


def serve(requests: Connection) -> str | None:
    """Fork a process for each requested module and send its exit code.

    Returns the module's name in the fork, and None in this process when no more requests can come.
    """
    while True:
        try:
            module: str
            module, stage = requests.recv()
        except EOFError:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pandas has a second thread, jemalloc's, which restarts in a fork
            process = os.fork()
        if not process:
            requests.close()
            os.environ["DVC_STAGE"] = stage
            with suppress(OSError):  # not on macOS
                Path("/proc/self/comm").write_text(stage)  # shown by top and `ps -e`
            return module
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a stage that is interrupted ends by itself
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with suppress(BrokenPipeError):  # the process that started this one was killed meanwhile
            requests.send(status)


if __name__ == "__main__":
    try:
        preload(sys.argv[2])
        module = serve(Connection(int(sys.argv[1])))
    except KeyboardInterrupt:
        os._exit(130)
    if module is None:
        os._exit(1)  # skips torch's cleanup, which takes longer than a small stage; nothing is left to write
    sys.modules.pop("__mp_main__", None)  # multiprocessing's name for this module, see `preload` on checkpoints
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
