"""Run a Lambda function with AWS's own runtime client until standard input closes, so that a killed parent leaves none behind.

python -I bootstrap.py HANDLER FOLDER

The process sees ``FOLDER`` as /tmp, because in Lambda each instance has its own /tmp. `bootstrap.py --check FOLDER` fails if this
system does not allow that.
"""

import ctypes
import os
import runpy
import sys
from pathlib import Path

PARENT = Path(__file__).parents[3] / "serving" / "container" / "parent.py"
TMP = Path("/tmp")  # noqa: S108 (this is its name in Lambda)
NEW_NAMESPACES = 0x10000000 | 0x00020000  # CLONE_NEWUSER, CLONE_NEWNS
BIND = 4096 | 16384  # MS_BIND, MS_REC
PRIVATE = 1 << 18 | 16384  # MS_PRIVATE, MS_REC


def own_tmp(folder: Path, needed: list[Path]) -> bool:
    """Make ``folder`` this process's /tmp, in which the folders ``needed`` stay where they were. Return whether that worked.

    Call it before any thread is started.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(NEW_NAMESPACES):
        return False

    def mount(source: Path | None, target: Path, flags: int) -> bool:
        return not libc.mount(source and bytes(source), bytes(target), None, flags, None)

    try:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            Path("/proc/self", name).write_text(text)
    except OSError:
        return False
    inside = {path: folder / path.relative_to(TMP) for path in needed if path.is_relative_to(TMP) and path.is_dir()}
    for target in inside.values():
        target.mkdir(parents=True, exist_ok=True)
    return (
        mount(None, Path("/"), PRIVATE)
        and all(mount(path, target, BIND) for path, target in inside.items())
        and mount(folder, TMP, BIND)
    )


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        sys.exit(not own_tmp(Path(sys.argv[2]), []))
    code = os.environ["LAMBDA_TASK_ROOT"]
    when_parent_ends = runpy.run_path(str(PARENT))["when_it_ends"]  # before /tmp is another folder
    own_tmp(Path(sys.argv.pop()).resolve(), [Path(one) for one in (code, sys.prefix, sys.base_prefix)])
    os.chdir(code)  # again: it may have been covered
    when_parent_ends(lambda: os._exit(0))
    sys.path.insert(0, code)
    runpy.run_module("awslambdaric", run_name="__main__", alter_sys=True)
