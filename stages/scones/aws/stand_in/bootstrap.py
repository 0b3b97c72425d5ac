"""Run a Lambda function with AWS's own runtime client until standard input closes, so that a killed parent leaves none behind.

python -I bootstrap.py HANDLER
"""

import os
import runpy
import sys
import threading


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    runpy.run_module("awslambdaric", run_name="__main__", alter_sys=True)
