"""Lines that say PASS or FAIL, and what the whole run comes to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Report:
    """What was checked so far."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    def check(self, what: str, *, ok: bool, detail: object = "") -> bool:
        """One line. ``detail`` is shown with both verdicts."""
        if ok:
            self.passed += 1
        else:
            self.failed += 1
        note = f" ({detail})" if str(detail) else ""
        print(f"{'PASS' if ok else 'FAIL'} {what}{note}", flush=True)
        return ok

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Says what takes a while, and for how long it did."""
        started = time.monotonic()
        print(f"==> {title}", flush=True)
        yield
        print(f"    {time.monotonic() - started:.0f} s", flush=True)

    @property
    def status(self) -> int:
        """For the shell. Nothing checked is not a success."""
        return 0 if self.passed and not self.failed else 1
