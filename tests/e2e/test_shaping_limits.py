"""The limits of a site hold over all senders together, whatever comes and goes. The sink's own record is the judge."""

import json
import math
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from kombu import Connection

from mailwarren.contracts.codec import encode, headers_of
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.shaping import SHAPING_KEY, Override, OverrideEnd, Scope
from mailwarren.contracts.shards import shard_of
from mailwarren.contracts.topology import Topology
from mailwarren.devstack.harness.counts import Promise
from mailwarren.devstack.harness.sink import SinkRecord
from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

FULL = os.environ.get("MAILWARREN_SHAPING_SECONDS")
SECONDS = float(FULL or 25)
WINDOW = 5.0
RATE = 50.0
CONNECTIONS = 6

DOMAINS = ["a.test", "b.test", "c.test"]
"""Three companies whose mail one provider takes."""
ZONE = "".join(f"{domain}. 60 IN MX 10 mx{n}.provider.test.\n" for n, domain in enumerate(DOMAINS))
ZONE += "".join(f"mx{n}.provider.test. 60 IN A 127.0.0.1\n" for n, _ in enumerate(DOMAINS))

ROWS = f"""
[sites.google]
mx = [".provider.test"]
rate = {RATE}
connections = {CONNECTIONS}
messages_per_connection = 1000
tls = "opportunistic"
"""


def windows(records: list[SinkRecord], begin: float, end: float) -> list[float]:
    """Mails a second in every window that begins at a tenth of a second."""
    times = sorted(record.received_at for record in records)
    starts = [begin + n / 10 for n in range(int((end - begin - WINDOW) * 10) + 1)]
    return [sum(start <= at < start + WINDOW for at in times) / WINDOW for start in starts]


def test_a_rate_holds_over_three_senders_while_one_comes_and_one_is_killed(direct: Callable[..., Any]) -> None:
    it = direct(ROWS, ZONE)
    system, sink = it.system, it.system.sink
    assert sink is not None
    sink.play({"domains": ["*"], "dot_latency_ms": 20}, connection_cap=CONNECTIONS)
    for number in range(3):
        it.sender(f"sender{number}")
    system.wait_ready()
    # More than is sent meanwhile, so that no sender runs out of mail.
    promises = it.send_all(int(RATE * SECONDS * 2), DOMAINS)
    wait_for(lambda: sink.stats()["mails"] >= RATE, 20, "the first mails")
    begin = time.time()
    end = begin + SECONDS * 0.8
    it.sender("later", wait=True)
    wait_for(lambda: time.time() > begin + SECONDS * 0.35, SECONDS, "a third of the time")
    system.services["sender1"].kill()
    wait_for(lambda: time.time() > end, SECONDS, "the end")
    seen = windows(sink.records(), begin, end)
    times = [math.floor(one.received_at - begin) for one in sink.records()]
    print(json.dumps({"seconds": [times.count(second) for second in range(int(end - begin))]}))
    print(json.dumps({"windows": len(seen), "least": min(seen), "most": max(seen)}))
    assert min(seen) >= 0.9 * RATE, (min(seen), max(seen))
    assert max(seen) <= 1.1 * RATE, (min(seen), max(seen))
    it.shaping.write_text(ROWS.replace(f"rate = {RATE}", ""))
    found = system.settle(promises, timeout=60)
    # What the killed sender had in flight may come twice; nothing else may, and nothing is lost.
    assert not found.missing_rows
    assert not found.without_end
    stats = sink.stats()
    assert stats["by_code"].get("421", 0) == 0, "more connections than the limit"
    assert stats["unique"] == len(promises)
    rows = system.query("select state, attempt, count(*) as count from deliveries group by state, attempt")
    assert [(row["state"], row["attempt"], row["count"]) for row in rows] == [("delivered", 1, len(promises))]


def impose(system: System, entry: Override | OverrideEnd) -> None:
    """As the API does: an entry of the control log."""
    topology = Topology(system.prefix)
    with Connection(system.amqp_url) as connection:
        connection.Producer().publish(
            encode(entry), exchange=topology.control_log.name, routing_key=SHAPING_KEY, headers=headers_of(entry),
            content_type="application/octet-stream", content_encoding="binary", delivery_mode=2,
        )  # fmt: skip


def suspend(site: str, seconds: float) -> Override:
    now = time.time()
    return Override(new_id(), Scope.SITE, site, now, now + seconds, suspend=True, cause="person:ada")


def arrivals(system: System, domain: str, begin: float = 0.0) -> list[float]:
    assert system.sink is not None
    return sorted(
        one.received_at for one in system.sink.records() if one.rcpt.endswith(f"@{domain}") and one.received_at >= begin
    )


def test_a_suspension_is_obeyed_by_all_senders_within_two_seconds_and_ends_on_time_or_sooner(
    direct: Callable[..., Any],
) -> None:
    it = direct(ROWS, ZONE + "quick.test. 60 IN MX 10 mx.quick.test.\nmx.quick.test. 60 IN A 127.0.0.1\n")
    system = it.system
    for number in range(3):
        it.sender(f"sender{number}")
    system.wait_ready()
    promises = it.send_all(1200, [*DOMAINS, "quick.test"])
    assert system.sink is not None
    wait_for(lambda: system.sink.stats()["mails"] > 100, 20, "the first mails")  # type: ignore[union-attr]
    ended = suspend("google", 300.0)
    impose(system, ended)
    time.sleep(2.0)
    closed = time.time()
    time.sleep(2.0)
    assert [at for domain in DOMAINS for at in arrivals(system, domain, closed)] == []
    impose(system, OverrideEnd(ended.id, time.time(), "ada"))
    opened = time.time()
    wait_for(lambda: bool(arrivals(system, "a.test", opened)), 15, "mail after the end")
    short = suspend("google", 4.0)
    impose(system, short)
    time.sleep(6.5)
    during = [at for domain in DOMAINS for at in arrivals(system, domain, short.since + 2.0) if at < short.until]
    after = [at for domain in DOMAINS for at in arrivals(system, domain, short.until)]
    assert during == []
    assert after
    assert min(after) < short.until + 2.0
    found = system.settle(promises, timeout=60)
    assert found.balanced, str(found)
    assert set(attempts(system)) == {1}


def attempts(system: System) -> list[int]:
    return [row["attempt"] for row in system.query("select attempt from deliveries where state = 'delivered'")]


def test_other_sites_of_a_shard_keep_their_rate_while_one_is_suspended(direct: Callable[..., Any]) -> None:
    """Both sites are of one hashed shard with one sender, whose prefetch is full of mails for the suspended one."""
    slow, quick = of_one_shard()
    rows = "[default]\nrate = 'none'\nconnection_rate = 'none'\n"
    it = direct(rows, "".join(f"{one}. 60 IN MX 10 mx.{one}.\nmx.{one}. 60 IN A 127.0.0.1\n" for one in (slow, quick)))
    system, sink = it.system, it.system.sink
    assert sink is not None
    sink.play({"domains": ["*"], "dot_latency_ms": 100})
    it.sender("sender")
    system.wait_ready()

    def rate() -> float:
        """Mails a second to the quick site, over some seconds of its own."""
        before = arrived(quick)
        promises.extend(it.send_all(500, [quick]))
        wait_for(lambda: arrived(quick) == before + 500, 30, "the quick site's mails")
        seen = arrivals(system, quick)[before:]
        return 400 / (seen[450] - seen[50])

    def arrived(domain: str) -> int:
        return int(sink.stats()["by_domain"].get(domain, {}).get("accepted", 0))

    promises: list[Promise] = []
    alone = rate()
    impose(system, suspend(slow, 15.0))
    waiting = it.send_all(1500, [slow])
    beside = rate()
    print(json.dumps({"alone": round(alone), "beside": round(beside)}))
    assert arrivals(system, slow) == []
    assert beside > 0.9 * alone
    found = system.settle(promises + waiting, timeout=60)
    assert found.balanced, str(found)
    assert set(attempts(system)) == {1}


def of_one_shard() -> tuple[str, str]:
    """Two domains of a hashed shard."""
    first = "s0.test"
    return first, next(name for n in range(1, 100) if shard_of(name := f"s{n}.test") == shard_of(first))
