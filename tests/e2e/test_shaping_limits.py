"""The limits of a site hold over all senders together, whatever comes and goes. The sink's own record is the judge."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailwarren.contracts.lanes import Lane
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
