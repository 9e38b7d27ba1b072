"""A crash while an unreadable message is set aside."""

import json
from pathlib import Path

import pytest

from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

CRASHING = Path(__file__).parent / "crashing"


def test_a_sender_that_dies_while_parking_parks_once_more(system: System) -> None:
    """A message that cannot be read is in ``mail.dead`` afterwards, whatever happened on the way."""
    from kombu import Connection

    from mailwarren.contracts.topology import Topology

    topology = Topology(system.prefix, 0.01)
    system.start_sink()
    victims = {}
    for place in ("before_park:1", "after_park:1"):
        env = {"PYTHONPATH": str(CRASHING), "CRASH_AT": place}
        victims[place] = system.start_sender(f"victim-{place[:5]}", app="crashing_sender:app", env=env, wait=False)
        with Connection(system.amqp_url) as connection:
            producer = connection.Producer()
            producer.publish(
                b"not a parcel", exchange=topology.accept.name, routing_key="normal.h1", content_type="application/json"
            )
        wait_for(lambda p=place: not victims[p].alive, 30, f"the crash at {place}")
    system.start_sender("heir")

    def dead() -> int:
        listed = [json.loads(line) for line in system.command("mailwarren", "dead", "list").splitlines()]
        return len([one for one in listed if "undecodable" in one["reason"]])

    wait_for(lambda: dead() >= 2, 30, "both messages in mail.dead", every=0.5)
