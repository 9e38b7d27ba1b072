"""Mail from several addresses: a new one sends its number of the day, over all senders and through their restarts."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.harness.counts import Promise
from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

ROWS = '[default]\nrate = "none"\nconnection_rate = "none"\n'
ZONE = """
rcpt.test.      60 IN MX 10 mx.rcpt.test.
mx.rcpt.test.   60 IN A  127.0.0.1
"""
NUMBER = 30


def a_file(folder: Path, new: str, pool: str, number: int) -> str:
    """A warm egress and a new one, which is on its second day: midnight changes nothing but the day.

    The new one has a name of its own in each test, because they share a control log.
    """
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
    file = folder / "egress.toml"
    file.write_text(f"""
[egresses.warm]
helo = "warm.sender.test"
ipv4 = "127.0.0.21"
[egresses.{new}]
helo = "{new}.sender.test"
ipv4 = "127.0.0.22"
warm_up = {{ since = {yesterday}, curve = "small" }}
[curves.small]
days = [{number}, {number}, {number}]
[pools]
default = {pool}
""")
    return str(file)


def delivered(system: System, promises: list[Promise]) -> Counter[str]:
    """By what it left from."""
    rows = system.query(
        "SELECT egress FROM deliveries WHERE state = 'delivered' AND email_id = ANY($1::uuid[])",
        [promise.email_id for promise in promises],
    )
    return Counter(row["egress"] for row in rows)


def test_a_new_egress_sends_its_number_and_the_rest_leaves_from_a_warm_one(
    direct: Callable[..., Any], tmp_path: Path
) -> None:
    it = direct(ROWS, ZONE)
    system = it.system
    file = a_file(tmp_path, "new", "{ warm = 1, new = 1000000 }", NUMBER)
    for name in ("one", "other"):
        it.sender(name, MAILWARREN_EGRESS_FILE=file)
    system.wait_ready()
    promises = it.send_all(150, ["rcpt.test"])
    found = system.settle(promises)
    assert found.balanced, str(found)
    assert delivered(system, promises) == {"new": NUMBER, "warm": 150 - NUMBER}
    for name in ("one", "other"):
        system.services[name].kill()
    it.sender("later", wait=True, MAILWARREN_EGRESS_FILE=file)
    more = it.send_all(20, ["rcpt.test"])
    assert system.settle([*promises, *more]).balanced
    assert delivered(system, more) == {"warm": 20}
    assert system.api
    api = system.api

    def list_egresses() -> dict[str, Any]:
        return {row["name"]: row for row in api.get("/senders").json()["egresses"]}

    used_up = [{"site": "other", "limit": NUMBER, "taken": NUMBER}]
    wait_for(
        lambda: list_egresses().get("new", {}).get("warming") == used_up, 10, "a heartbeat that tells of the number"
    )
    listed = list_egresses()
    assert (listed["warm"]["warming"], listed["warm"]["open"]) == ([], True)
    shown = api.get(f"/emails/{promises[0].email_id}/timeline").json()["data"]
    assert shown[-1]["egress"] in {"new", "warm"}


def test_where_none_is_warm_the_rest_waits_and_says_so(direct: Callable[..., Any], tmp_path: Path) -> None:
    it = direct(ROWS, ZONE)
    system = it.system
    file = a_file(tmp_path, "alone", "{ alone = 1 }", 5)
    it.sender("one", Lane.HIGH, Lane.NORMAL, Lane.BULK, MAILWARREN_EGRESS_FILE=file)
    system.wait_ready()
    promises = it.send_all(12, ["rcpt.test"])
    wait_for(lambda: delivered(system, promises) == {"alone": 5}, 30, "the day's number")
    states = system.states(promises)
    waiting = [email for (email, _), state in states.items() if state != "delivered"]
    assert len(waiting) == 7
    assert system.api
    api = system.api

    def explained() -> str:
        return str(api.get(f"/emails/{waiting[0]}/explain").json()["data"][0]["waits_for"])

    wait_for(lambda: explained() == "egress", 10, "a heartbeat that tells of the egress")
    attempts = system.query(
        "SELECT count(*) AS made FROM events WHERE email_id = ANY($1::uuid[]) AND attempt > 0", waiting
    )
    assert attempts[0]["made"] == 0
    assert delivered(system, promises) == {"alone": 5}
