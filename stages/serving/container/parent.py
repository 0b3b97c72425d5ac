"""End a process together with the one that started it, even if that one is killed."""

import os
import threading
from collections.abc import Callable


def when_it_ends(act: Callable[[], object]) -> None:
    """Call ``act`` in a thread when standard input closes: it is a pipe from the parent, to which nothing is written."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        act()

    threading.Thread(target=watch, daemon=True).start()
