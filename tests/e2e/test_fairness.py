"""High mail is not delayed by bulk, also where a site allows few connections and bulk has them (DESIGN §2.6)."""

import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.harness.system import wait_for

pytestmark = pytest.mark.e2e

FULL = bool(os.environ.get("MAILWARREN_FAIRNESS"))
BULK, BULK_SENDERS = (200_000, 6) if FULL else (1_200, 2)
HIGH, HIGH_SENDERS = (1_000, 2) if FULL else (50, 1)
RATE = 20.0
CONNECTIONS = 5
SECONDS = 2.0
"""From the API's yes to the server's 250, for 95 of 100."""

ZONE = "a.test. 60 IN MX 10 mx.provider.test.\nmx.provider.test. 60 IN A 127.0.0.1\n"
LIMITED = f"[sites.google]\nmx = ['.provider.test']\nconnections = {CONNECTIONS}\ntls = 'off'\n"
ROOMY = "[sites.google]\nmx = ['.provider.test']\nconnections = 100\ntls = 'off'\n"


@pytest.mark.parametrize("rows", [LIMITED, ROOMY] if FULL else [LIMITED], ids=["limited", "roomy"][: 1 + FULL])
def test_high_mail_gets_through_while_bulk_has_all_slots(direct: Callable[..., Any], rows: str) -> None:
    it = direct(rows, ZONE)
    system, sink = it.system, it.system.sink
    limit = CONNECTIONS if rows == LIMITED else 100
    sink.play({"domains": ["*"], "dot_latency_ms": 50}, connection_cap=limit)
    for number in range(BULK_SENDERS):
        it.sender(f"sender{number}", Lane.BULK)
    for number in range(HIGH_SENDERS):
        it.sender(f"sender-high{number}", Lane.HIGH)
    system.wait_ready()
    bulk = it.send_all(BULK, ["a.test"])
    if rows == LIMITED:
        wait_for(lambda: sink.stats()["connections_open"] == CONNECTIONS - 1, 20, "bulk on all slots but one")

    sent, high = {}, []
    begin = time.monotonic()
    for number in range(HIGH):
        wait_for(lambda due=begin + number / RATE: time.monotonic() >= due, 5, "its moment", every=0.005)
        to = f"high{number}@a.test"
        answer = system.send(to, priority="high").raise_for_status()
        sent[to] = time.time()
        high.append(system.promise(answer.json()["id"], to))

    found = system.settle(high, timeout=30)
    assert not found.missing_rows
    assert not found.without_end
    seen = {one.rcpt: one.answered_at for one in sink.records() if one.rcpt.startswith("high")}
    waits = sorted((seen[to] or time.time()) - at for to, at in sent.items())
    p95 = waits[int(len(waits) * 0.95)]
    print(json.dumps({"p50": round(waits[len(waits) // 2], 3), "p95": round(p95, 3), "most": round(waits[-1], 3)}))
    assert p95 < SECONDS
    assert sink.stats()["mails"] < BULK, "bulk was done before"
    assert sink.stats()["by_code"].get("421", 0) == 0, "more connections than the limit"
    assert sink.stats()["duplicates"] == 0
    if not FULL:
        assert system.settle(bulk + high, timeout=90).balanced
    tried = system.query("select distinct attempt from deliveries where state = 'delivered'")
    assert [row["attempt"] for row in tried] == [1]
