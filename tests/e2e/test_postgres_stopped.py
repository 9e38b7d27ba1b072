"""Postgres is away for 20 seconds in the middle of a run."""

import time
from typing import Any

import pytest

from mailwarren.devstack.harness.system import System, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

AWAY = 20.0


def test_unkeyed_mail_flows_and_the_ledger_agrees_afterwards(
    system_with_own_postgres: System, own_postgres: Any
) -> None:
    system = system_with_own_postgres
    system.start_all(senders=1)
    assert system.sink
    assert system.api
    promises = system.send_bulk([f"b{n}@d{n % 30}.test" for n in range(300)])
    away_from = time.monotonic()
    own_postgres.stop()
    answer = system.send("single@d1.test")
    assert answer.status_code == 200, answer.text
    promises.append(system.promise(answer.json()["id"], "single@d1.test"))
    promises += system.send_bulk([f"c{n}@d{n % 30}.test" for n in range(300)])
    keyed = system.api.post(
        "/emails",
        json={"from": "a@sender.test", "to": "k@d1.test", "subject": "x", "text": "y"},
        headers={"Idempotency-Key": "one"},
    )
    assert keyed.status_code == 503
    assert keyed.json()["statusCode"] == 503
    assert keyed.headers["retry-after"]
    wait_for(lambda: system.sink.stats()["accepted"] >= 601, 30, "delivery without Postgres")
    assert time.monotonic() - away_from < AWAY, "delivered while Postgres was still away"
    time.sleep(max(0.0, AWAY - (time.monotonic() - away_from)))
    own_postgres.start()
    found = system.settle(promises, timeout=60)
    assert found.balanced, str(found)
    assert not found.doubled
    assert system.left_in_broker() == {}
