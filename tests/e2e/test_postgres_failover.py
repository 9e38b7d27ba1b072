"""The primary dies in the middle of a run and its standby takes over: no service is restarted, nothing is lost."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailwarren.devstack.harness.load import Load
from mailwarren.devstack.harness.system import System, wait_for
from mailwarren.devstack.postgres import Postgres
from mailwarren.devstack.postgres_copies import SYNCHRONOUS, Copy, execute, several

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def standby(own_postgres: Postgres, devstack_scratch: Any) -> Iterator[Copy]:
    """A standby for which the commits of ``own_postgres`` wait."""
    made = Copy(devstack_scratch.home("standby"), own_postgres)
    try:
        made.start()
        for pid in made.pids:
            devstack_scratch.record(pid, "standby")
        execute(
            own_postgres.database_url,
            f"ALTER SYSTEM SET synchronous_standby_names = '{SYNCHRONOUS}'",
            "SELECT pg_reload_conf()",
        )
        yield made
    finally:
        made.remove()


@pytest.fixture
def system(tmp_path: Path, rabbitmq: Any, own_postgres: Postgres, standby: Copy, amqp_prefix: str) -> Iterator[System]:
    """Services that know both servers."""
    url = several(own_postgres, standby)
    made = System(tmp_path, amqp_url=rabbitmq.amqp_url, database_url=url, prefix=amqp_prefix)
    made.prepare()
    try:
        yield made
    finally:
        made.close()


def test_the_standby_takes_over_and_the_ledger_agrees(system: System, own_postgres: Postgres, standby: Copy) -> None:
    system.start_all()
    with Load(system, every=0.2, recipients=20) as load:
        wait_for(lambda: _recorded(system) >= 100, 30, "the first mails")
        before = set(_ends(system))
        own_postgres.crash()
        died = time.monotonic()
        accepted = load.accepted
        wait_for(lambda: load.accepted >= accepted + 100, 20, "mail accepted without a database", load.check)
        standby.promote()
        # What was committed is there: the primary's commits waited for the standby.
        assert before <= set(_ends(system))
        late = system.promise(system.send("late@d1.test").json()["id"], "late@d1.test")
        wait_for(lambda: system.states([late]) != {}, 30, "a mail on the promoted server")
        away = time.monotonic() - died
    found = system.settle([*load.promises, late], timeout=60)
    print(f"{len(load.promises)} mails, {load.refused} calls refused, recorded again {away:.1f} s after the crash")
    assert found.balanced, str(found)
    assert not found.doubled
    assert load.refused == 0
    assert all(service.alive for service in system.services.values())  # and none was started again
    body = {"from": "a@sender.test", "to": "keyed@d1.test", "subject": "x", "text": "y"}
    assert system.api
    keyed = [system.api.post("/emails", json=body, headers={"Idempotency-Key": "one"}) for _ in range(2)]
    assert [answer.status_code for answer in keyed] == [200, 200]
    assert keyed[0].json() == keyed[1].json()
    assert system.left_in_broker() == {}


def _ends(system: System) -> dict[tuple[str, str], str]:
    return {key: state for key, state in system.states().items() if state == "delivered"}


def _recorded(system: System) -> int:
    return len(_ends(system))
