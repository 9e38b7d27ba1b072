"""A crash between any two publishes, and between publish and ack, at each place in the code."""

import json
import sys
import time
from pathlib import Path

import httpx
import pytest

from mailwarren.devstack.harness.system import System, wait_for
from mailwarren.devstack.ports import free_ports

pytestmark = pytest.mark.e2e

CRASHING = Path(__file__).parent / "crashing"

# One parcel for each shard: some accept, some are refused for good, some wait as the schedule says, and some as long as
# the server wishes, so that a parcel's deferrals go to two rungs.
PERSONAS = (
    {"domains": ["no*.test"], "rules": [{"stage": "rcpt", "code": 550, "enhanced": "5.1.1", "text": "unknown user"}]},
    {
        "domains": ["later*.test"],
        "rules": [{"stage": "rcpt", "code": 451, "enhanced": "4.3.0", "text": "not now", "first_attempts": 1}],
    },
    {
        "domains": ["wish*.test"],
        "rules": [
            {
                "stage": "rcpt",
                "code": 451,
                "text": "try again in 1200 seconds",
                "enhanced": "4.3.0",
                "first_attempts": 1,
            }
        ],
    },
)
KINDS = ("yes", "no", "later", "wish")


def addresses(count: int) -> list[str]:
    return [f"u{n}@{KINDS[n % 4]}{n % 24}.test" for n in range(count)]


@pytest.mark.parametrize(
    "place",
    [
        "before_outcomes:1",
        "after_outcomes:1",
        "after_outcomes:3",
        "before_ladder:1",
        "after_ladder:1",
        "before_ladder:2",
        "after_ladder:2",
        "before_ack:1",
        "after_ack:1",
    ],
)
def test_a_sender_that_dies_there_loses_nothing(system: System, place: str) -> None:
    system.start_sink()
    assert system.sink
    system.sink.play(*PERSONAS)
    system.start_ingest()
    system.start_tracker()
    env = {"PYTHONPATH": str(CRASHING), "CRASH_AT": place, "MAILWARREN_PREFETCH": "5"}
    victim = system.start_sender("victim", app="crashing_sender:app", env=env)
    promises = system.send_bulk(addresses(240))
    wait_for(lambda: not victim.alive, 30, f"the crash at {place}")
    died_at = time.time()
    assert victim.process.returncode == -9
    system.start_sender("heir")
    found = system.settle(promises, timeout=60)
    assert found.balanced, str(found)
    records = system.sink.records()
    for promise, _ in found.doubled:
        copies = sorted(one.received_at for one in records if one.message_id == promise.message_id)
        # Only what was answered right before the death may come twice; when the outcome was confirmed, nothing may.
        assert copies[0] > died_at - 1.5
    if place.startswith(("after_outcomes:1", "before_ack", "after_ack")):
        assert len(found.doubled) <= 400
    bounced = [promise for promise in promises if "@no" in promise.address]
    assert set(system.states(bounced).values()) <= {"bounced", "suppressed"}


def test_a_sender_that_dies_while_parking_parks_once_more(system: System) -> None:
    """A message that cannot be read is in ``mail.dead`` afterwards, whatever happened on the way."""
    from kombu import Connection

    from mailwarren.contracts.topology import Topology

    topology = Topology(system.prefix, 0.01)
    system.start_sink()
    victims = {}
    for place in ("before_park:1", "after_park:1"):
        env = {"PYTHONPATH": str(CRASHING), "CRASH_AT": place}
        victims[place] = system.start_sender(f"victim-{place[:5]}", app="crashing_sender:app", env=env)
        with Connection(system.amqp_url) as connection:
            producer = connection.Producer()
            producer.publish(
                b"not a parcel", exchange=topology.accept.name, routing_key="normal.h1", content_type="application/json"
            )
        wait_for(lambda p=place: not victims[p].alive, 30, f"the crash at {place}")
    system.start_sender("heir")

    def dead() -> int:
        listed = json.loads(system.command("mailwarren", "dead", "list", "--json"))
        return len([one for one in listed if "undecodable" in one["reason"]])

    wait_for(lambda: dead() >= 2, 30, "both messages in mail.dead", every=0.5)


@pytest.mark.parametrize("place", ["before_publish:1", "before_publish:2", "after_publish:1", "after_publish:3"])
def test_an_api_that_dies_there_makes_no_second_mail_when_the_call_is_repeated(system: System, place: str) -> None:
    system.start_sink()
    assert system.sink
    system.start_tracker()
    system.start_sender()
    (port,) = free_ports(1)
    env = {
        "MAILWARREN_API_HOST": "127.0.0.1",
        "MAILWARREN_API_PORT": str(port),
        "PYTHONPATH": str(CRASHING),
        "CRASH_AT": place,
    }
    victim = system._start("victim", [sys.executable, str(CRASHING / "crashing_ingest.py")], env)
    url = f"http://127.0.0.1:{port}"
    wait_for(lambda: _ready(url), 30, "the API", victim.check)
    body = {
        "from": "Ada <ada@sender.test>",
        "subject": "Once",
        "text": "Only once.",
        "recipients": [{"to": f"u{n}@d{n}.test"} for n in range(30)],
    }
    headers = {"Authorization": f"Bearer {system.token}", "Idempotency-Key": f"only-once-{place}"}
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{url}/v1/emails/bulk", json=body, headers=headers, timeout=30)
    wait_for(lambda: not victim.alive, 10, "the crash")
    client = system.start_ingest()
    answer = client.post("/emails/bulk", json=body, headers=headers)
    end = time.monotonic() + 45
    while answer.status_code == 409 and time.monotonic() < end:  # the dead call's lease of 30 s
        time.sleep(1)
        answer = client.post("/emails/bulk", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    promises = [system.promise(row["id"], row["to"]) for row in answer.json()["data"]]
    assert len(promises) == 30
    found = system.settle(promises, timeout=30)
    assert found.balanced, str(found)
    assert not found.doubled
    assert client.post("/emails/bulk", json=body, headers=headers).json() == answer.json()


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=1).status_code == 200
    except httpx.HTTPError:
        return False
