"""Tells a person what a long step is doing and for how long it has been doing it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_QUIET_SECONDS = 5.0
"""How often a step says that it still runs when nobody watches a terminal."""


class StepError(Exception):
    """A step that cannot go on; the message says what to do and is all the user sees."""


def say(line: str) -> None:
    """Prints one line at once, also into a pipe."""
    print(line, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Shows `title` with its elapsed seconds while the body runs, and its total afterwards."""
    started = time.monotonic()
    finished = threading.Event()
    live = sys.stdout.isatty()
    say(f"==> {title}")

    def tick() -> None:
        while not finished.wait(0.5 if live else _QUIET_SECONDS):
            elapsed = time.monotonic() - started
            if live:
                print(f"\r    {elapsed:.0f} s", end="", flush=True)
            else:
                say(f"    {elapsed:.0f} s: still {title[:1].lower()}{title[1:]}")

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        finished.set()
        ticker.join()
        print("\r" if live else "", end="")
    say(f"    done in {time.monotonic() - started:.1f} s")


def run_logged(argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> int:
    """Runs `argv` with no input and its output appended to `log`; returns its exit status."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        out.write(f"$ {' '.join(argv)}\n".encode())
        out.flush()
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=env,
            check=False,
        ).returncode


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, indented, for an error message."""
    text = log.read_text(errors="replace").splitlines()[-lines:] if log.exists() else []
    return "\n".join(f"    | {line}" for line in text)
