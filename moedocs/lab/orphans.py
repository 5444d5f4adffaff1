"""Processes that end soon after the one that started them. Light to import, so that they know it from the beginning."""

import os
import signal
import threading
import time

EVERY = 0.5  # seconds


def end_with(parent: int) -> None:
    """In a process of a sweep: end when the parent has, however it ended and whatever is being done here."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal interrupts all at once: the parent ends these, quietly

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(EVERY)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
