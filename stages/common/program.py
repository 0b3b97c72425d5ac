"""What every stage has in common as a program: its help, its exit codes and its one-line errors."""

import argparse
import inspect
import sys
from collections.abc import Callable


class InputError(Exception):
    """Something its user can mend: the message names the cause and the remedy in one line."""


def run(main: Callable[..., None], arguments: Callable[[argparse.ArgumentParser], None] | None = None) -> None:
    """Run ``main`` as a command-line program.

    ``arguments`` declares those that it takes; ``main`` gets them by name. ``--help`` prints the docstring of the module
    that ``main`` comes from. An ``InputError`` ends the
    program with exit code 1 and its message on one line of standard error; any other exception is a defect
    and keeps its traceback.
    """
    module = inspect.getmodule(main)
    parser = argparse.ArgumentParser(
        prog=f"python -m {module.__spec__.name}" if module and module.__spec__ else None,
        description=module.__doc__ if module else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if arguments:
        arguments(parser)
    parsed = parser.parse_args()
    try:
        main(**vars(parsed))
    except InputError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        sys.exit(130)
