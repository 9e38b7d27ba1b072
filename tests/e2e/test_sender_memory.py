"""A sender's memory: bounded, and flat however many mails pass through it.

``make memory`` runs this with 200,000 mails; ``make test`` with fewer.
"""

import os
import time

import psutil
import pytest

from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

MAILS = int(os.environ.get("MAILWARREN_MEMORY_MAILS", "20000"))
LIMIT = 150e6
"""Bytes resident."""
GROWTH = 12e6
"""Bytes that the second half may add: caches that fill up, nothing that grows with the count."""


def test_memory_is_small_and_does_not_grow_with_the_mails(system: System) -> None:
    system.start_all(senders=1)
    assert system.sink
    sender = psutil.Process(system.services["sender0"].pid)
    seen: list[tuple[int, int]] = []
    for start in range(0, MAILS, 10_000):
        count = min(10_000, MAILS - start)
        system.send_bulk([f"u{start + n}@d{n % 50}.test" for n in range(count)])
        until = start + count
        end = time.monotonic() + 120
        while (accepted := system.sink.stats()["accepted"]) < until:
            seen.append((accepted, sender.memory_info().rss))
            assert time.monotonic() < end, f"{accepted} of {until} delivered"
            time.sleep(0.25)
    wait_for(lambda: system.sink.stats()["accepted"] >= MAILS, 10, "all deliveries")
    seen.append((MAILS, sender.memory_info().rss))
    first = max(rss for count, rss in seen if count <= MAILS / 2)
    second = max(rss for _, rss in seen)
    print(f"{MAILS} mails: {first / 1e6:.0f} MB in the first half, {second / 1e6:.0f} MB in all")
    assert second < LIMIT
    assert second - first < GROWTH
