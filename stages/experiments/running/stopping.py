"""Stop a program that runs others."""

import signal


def stop_on_signals() -> None:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt.

    By default a program that a shell starts in the background ignores SIGINT, and so do the processes that it starts.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
