"""The limits of a site hold over all senders together, whatever comes and goes. The sink's own record is the judge."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from kombu import Connection

from mailwarren.contracts.codec import encode, headers_of
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.lanes import Lane
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


@dataclass
class Direct:
    """A system that sends to the recipients' own hosts."""

    system: System
    env: dict[str, str]

    def sender(self, name: str, *lanes: Lane, wait: bool = False, **env: str) -> None:
        self.system.start_sender(name, lanes or tuple(Lane), wait=wait, env=self.env | env)


@pytest.fixture
def direct(system: System, name_server: Callable[[str], str], tmp_path: Path) -> Callable[..., Direct]:
    """Starts all but the senders, with these rows."""

    def start(rows: str, zone: str = ZONE) -> Direct:
        system.start_sink()
        system.start_tracker(wait=False)
        system.start_ingest(wait=False)
        shaping = tmp_path / "shaping.toml"
        shaping.write_text(rows)
        port = system.smtp_url.rpartition(":")[2]
        env = {
            "MAILWARREN_SMTP_URL": "",
            "MAILWARREN_RESOLVER": name_server(zone),
            "MAILWARREN_MX_PORT": port,
            "MAILWARREN_SHAPING_FILE": str(shaping),
        }
        return Direct(system, env)

    return start


def send_all(system: System, count: int, domains: list[str], lane: Lane = Lane.BULK) -> list[Promise]:
    """Bulk calls of 5,000 at most."""
    addresses = [f"u{n}@{domains[n % len(domains)]}" for n in range(count)]
    return [one for at in range(0, count, 5000) for one in system.send_bulk(addresses[at : at + 5000], lane=lane)]


def windows(records: list[SinkRecord], begin: float, end: float) -> list[float]:
    """Mails a second in every window that begins at a tenth of a second."""
    times = sorted(record.received_at for record in records)
    starts = [begin + n / 10 for n in range(int((end - begin - WINDOW) * 10) + 1)]
    return [sum(start <= at < start + WINDOW for at in times) / WINDOW for start in starts]


def test_a_rate_holds_over_three_senders_while_one_comes_and_one_is_killed(direct: Callable[..., Direct]) -> None:
    it = direct(ROWS)
    system, sink = it.system, it.system.sink
    assert sink is not None
    sink.play({"domains": ["*"], "dot_latency_ms": 20}, connection_cap=CONNECTIONS)
    for number in range(3):
        it.sender(f"sender{number}")
    system.wait_ready()
    promises = send_all(system, int(RATE * SECONDS), DOMAINS)
    wait_for(lambda: sink.stats()["mails"] >= RATE, 20, "the first mails")
    begin = time.time()
    end = begin + SECONDS * 0.8
    it.sender("later", wait=True)
    wait_for(lambda: time.time() > begin + SECONDS * 0.35, SECONDS, "a third of the time")
    system.services["sender1"].kill()
    wait_for(lambda: time.time() > end, SECONDS, "the end")
    seen = windows(sink.records(), begin, end)
    print(json.dumps({"windows": len(seen), "least": min(seen), "most": max(seen)}))
    assert min(seen) >= 0.9 * RATE, (min(seen), max(seen))
    assert max(seen) <= 1.1 * RATE, (min(seen), max(seen))
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
    direct: Callable[..., Direct],
) -> None:
    it = direct(ROWS, ZONE + "quick.test. 60 IN MX 10 mx.quick.test.\nmx.quick.test. 60 IN A 127.0.0.1\n")
    system = it.system
    for number in range(3):
        it.sender(f"sender{number}")
    system.wait_ready()
    promises = send_all(system, 1200, [*DOMAINS, "quick.test"])
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
    wait_for(lambda: bool(arrivals(system, "a.test", opened)), 4, "mail after the end")
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


def test_other_sites_of_a_shard_keep_their_rate_while_one_is_suspended(direct: Callable[..., Direct]) -> None:
    """Both sites' domains are of one hashed shard, one sender, and its prefetch is full of the suspended one's mails."""
    slow, quick = of_one_shard()
    it = direct("", "".join(f"{one}. 60 IN MX 10 mx.{one}.\nmx.{one}. 60 IN A 127.0.0.1\n" for one in (slow, quick)))
    system, sink = it.system, it.system.sink
    assert sink is not None
    sink.play({"domains": ["*"], "dot_latency_ms": 30})
    it.sender("sender", wait=True)

    def rate() -> float:
        """Mails a second to the quick site, over some seconds of its own."""
        begin = time.time()
        promises.extend(send_all(system, 1200, [quick]))
        wait_for(lambda: len(arrivals(system, quick, begin)) >= 1200, 30, "the quick site's mails")
        seen = arrivals(system, quick, begin)
        return (len(seen) - 200) / (seen[-100] - seen[100])

    promises: list[Promise] = []
    alone = max(rate(), rate())
    impose(system, suspend(slow, 20.0))
    waiting = send_all(system, 3000, [slow])
    beside = max(rate(), rate())
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


def test_high_mail_gets_through_while_bulk_has_all_slots(direct: Callable[..., Direct]) -> None:
    it = direct("[sites.google]\nmx = ['.provider.test']\nconnections = 5\ntls = 'off'\n")
    system, sink = it.system, it.system.sink
    assert sink is not None
    sink.play({"domains": ["*"], "dot_latency_ms": 50}, connection_cap=5)
    for number in range(2):
        it.sender(f"sender{number}", Lane.BULK)
    it.sender("sender9", Lane.HIGH)
    system.wait_ready()
    bulk = send_all(system, 2500, DOMAINS)
    wait_for(lambda: sink.stats()["connections_open"] == 4, 20, "bulk on all slots but one")
    high, sent = [], {}
    for n in range(40):
        answer = system.send(f"high{n}@a.test", priority="high").raise_for_status()
        sent[f"high{n}@a.test"] = time.time()
        high.append(system.promise(answer.json()["id"], f"high{n}@a.test"))
        time.sleep(0.05)
    wait_for(lambda: all(at in {r.rcpt for r in sink.records()} for at in sent), 15, "the high mails")
    seen = {one.rcpt: one.answered_at or one.received_at for one in sink.records()}
    waits = sorted(seen[to] - at for to, at in sent.items())
    p95 = waits[int(len(waits) * 0.95)]
    print(json.dumps({"p50": waits[len(waits) // 2], "p95": p95, "most": waits[-1]}))
    assert p95 < 2.0
    assert sink.stats()["mails"] < len(bulk), "bulk was done before"
    found = system.settle(bulk + high, timeout=60)
    assert found.balanced, str(found)
    assert sink.stats()["by_code"].get("421", 0) == 0, "more connections than the limit"
