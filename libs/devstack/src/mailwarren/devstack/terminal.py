"""What a person sees while something takes long: what it is, for how long already, and what it took."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_QUIET_SECONDS = 5.0
"""How often a step says that it still runs when nobody watches a terminal."""


def say(line: str = "") -> None:
    """Prints a line at once, also into a pipe."""
    print(line, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Shows ``title`` and its elapsed time while the body runs, on a terminal every half second."""
    live = sys.stdout.isatty()
    started = time.monotonic()
    finished = threading.Event()

    def tick() -> None:
        while not finished.wait(0.5 if live else _QUIET_SECONDS):
            elapsed = time.monotonic() - started
            print(
                f"\r==> {title} … {elapsed:.0f} s" if live else f"    {elapsed:.0f} s: {title}",
                end="" if live else "\n",
            )
            sys.stdout.flush()

    if live:
        print(f"==> {title} …", end="", flush=True)
    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    done = False
    try:
        yield
        done = True
    finally:
        finished.set()
        ticker.join()
        took = f"{time.monotonic() - started:.1f} s" if done else "failed"
        say(f"\r==> {title}: {took}\x1b[K" if live else f"==> {title}: {took}")
