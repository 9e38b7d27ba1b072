"""One mail of fifty kills every sender that builds it."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.harness.doubles import unexcused
from mailwarren.devstack.harness.system import System
from mailwarren.sender.suspects import MOST_BEGUN, SUSPECT_AFTER

pytestmark = pytest.mark.e2e

CRASHING = Path(__file__).parent / "crashing"
SENDERS = 3
ENV = {"PYTHONPATH": str(CRASHING)}
SCALE = 0.002
"""A successor of a suspect mail is looked at after 1.3 s instead of eleven minutes."""


def keep_senders(system: System, until: Any, timeout: float) -> list[float]:
    """Replace each sender that dies, as a cluster would; returns the moments of death."""
    started, deaths, end = SENDERS, [], time.monotonic() + timeout
    alive = [f"sender{number}" for number in range(SENDERS)]
    while not until():
        for name in [name for name in alive if not system.services[name].alive]:
            assert system.services[name].process.returncode == -9, system.services[name].tail()
            deaths.append(time.time())
            alive.remove(name)
            alive.append(f"sender{started}")
            system.start_sender(f"sender{started}", app="poison_sender:app", env=ENV, wait=False)
            started += 1
        assert time.monotonic() < end, f"{len(deaths)} senders died\n{system.logs()}"
        time.sleep(0.02)
    return deaths


def test_it_is_parked_with_all_that_it_did_and_takes_no_neighbour_along(
    tmp_path: Path, rabbitmq: Any, postgres: Any, amqp_prefix: str
) -> None:
    system = System(
        tmp_path,
        amqp_url=rabbitmq.amqp_url,
        database_url=postgres.database_url,
        prefix=amqp_prefix,
        retry_scale=SCALE,
    )
    system.prepare()
    try:
        system.start_sink()
        assert system.sink
        system.sink.play({"domains": ["*"], "dot_latency_ms": 20})
        system.start_ingest(wait=False)
        system.start_tracker(wait=False)
        for number in range(SENDERS):
            system.start_sender(f"sender{number}", app="poison_sender:app", env=ENV, wait=False)
        system.wait_ready()
        names = [f"poison{n}" if n == 25 else f"u{n}" for n in range(50)]
        promises = system.send_bulk([f"{name}@d1.test" for name in names], lane=Lane.NORMAL)

        def states() -> Counter[str]:
            return Counter(system.states(promises).values())

        deaths = keep_senders(system, lambda: states()["parked"] == 1 and states()["delivered"] == 49, 150)
        # Whole three times, then once in a group, then alone.
        assert len(deaths) == SUSPECT_AFTER + MOST_BEGUN
        assert [at for (_, at), state in system.states(promises).items() if state == "parked"] == ["poison25@d1.test"]

        found = system.ledger(promises)
        assert not found.delivered_but_not_at_sink and not found.strangers_at_sink, str(found)
        assert unexcused([one for one, _ in found.doubled], system.sink.records(), deaths) == []

        (dead,) = [json.loads(line) for line in system.command("mailwarren", "dead", "list").splitlines()]
        assert dead["deliveries"] == 1
        assert dead["reason"].startswith(f"{MOST_BEGUN} senders began this mail")
        shown = json.loads(system.command("mailwarren", "dead", "show", str(dead["number"])))
        setbacks = shown["headers"]["mw-setbacks"]
        assert ["gave it to" in line for line in setbacks] == [True] + [False] * (MOST_BEGUN + 1)
        assert sum("began it" in line for line in setbacks) == MOST_BEGUN
        assert setbacks[-1].endswith("parked")
        print(f"{len(deaths)} senders died, {len(found.doubled)} neighbours were between final dot and confirm then")
        print("\n".join(setbacks))

        # A person has mended the bug: the replayed mail arrives, once.
        for name in [name for name in system.services if name.startswith("sender")]:
            if system.services[name].alive:
                system.services[name].kill()
        system.start_sender("mended")
        # The last claim on it stands for ten minutes; the clock is put forward instead of waited for.
        system.query("update claims set at = at - interval '10 minutes'")
        system.command("mailwarren", "dead", "replay", "--all")
        found = system.settle(promises, timeout=30)
        assert found.balanced, str(found)
        assert states() == {"delivered": 50}
    finally:
        system.close()
