"""Given up and forgotten in time, and seen by the gauges."""

import time

import pytest
from prometheus_client import REGISTRY

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.testing import TENANT
from mailwarren.tracker.adapters.partitions import Partitions
from mailwarren.tracker.adapters.webhook_upkeep import look
from mailwarren.tracker.upkeep import Upkeep
from mailwarren.tracker.webhooks.upkeep import WebhookUpkeep

pytestmark = pytest.mark.postgres
DAY = 86400.0
URL = "https://receiver.example.test/"


@pytest.fixture
def upkeep(engine):
    return WebhookUpkeep(engine, give_up_after=5 * DAY, keep_days=30)


async def ill(hooks, endpoint, *, since, last):
    await hooks.database.execute(
        "INSERT INTO webhook_health (tenant, endpoint, failing_since, last_failure_at) "
        "VALUES ($1, $2, now() - $3 * interval '1 day', now() - $4 * interval '1 day')",
        TENANT, endpoint, since, last,
    )  # fmt: skip
    await hooks.database.execute("UPDATE webhooks SET enabled_at = now() - interval '30 days' WHERE id = $1", endpoint)


async def given_up(hooks, endpoint):
    return (await hooks.health(endpoint))["disabled_at"] is not None


async def test_nothing_but_failures_for_days_disables_an_endpoint_and_is_told_once(hooks, upkeep):
    endpoint, other = await hooks.add(URL), await hooks.add(URL, ["webhook.disabled"])
    await ill(hooks, endpoint, since=5.1, last=0.01)
    await upkeep.turn(0.0)
    assert await given_up(hooks, endpoint)
    assert (await hooks.health(endpoint))["reason"] == "Nothing has come through for 5 days."
    await upkeep.turn(60.0)
    assert await hooks.states(other) == {"pending": 1}


async def test_an_endpoint_is_not_to_blame_for_days_without_events_nor_for_days_before_it_was_enabled(hooks, upkeep):
    short, quiet, again, well = [await hooks.add(URL) for _ in range(4)]
    await ill(hooks, short, since=4.9, last=0.01)
    await ill(hooks, quiet, since=20, last=18)
    await ill(hooks, again, since=20, last=0.01)
    await ill(hooks, well, since=20, last=0.01)
    await hooks.database.execute("UPDATE webhooks SET enabled_at = now() - interval '4 days' WHERE id = $1", again)
    await hooks.database.execute("UPDATE webhook_health SET failing_since = NULL WHERE endpoint = $1", well)
    await upkeep.turn(0.0)
    assert [await given_up(hooks, one) for one in (short, quiet, again, well)] == [False] * 4


async def test_events_that_have_waited_for_three_days_end(hooks, upkeep):
    endpoint = await hooks.add(URL)
    await hooks.tell(endpoint, 2500, age=3 * DAY + 60)
    await hooks.tell(endpoint, 3, age=3 * DAY - 60)
    await upkeep.turn(0.0)
    assert await hooks.states(endpoint) == {"failed": 2500, "pending": 3}


async def test_old_events_are_forgotten_with_their_tries_and_open_ones_are_not(hooks, upkeep):
    endpoint = await hooks.add(URL)
    old, young = await hooks.tell(endpoint, 2, age=31 * DAY), await hooks.tell(endpoint, 2, age=29 * DAY)
    await hooks.database.execute("UPDATE webhook_deliveries SET state = 'success', due_at = NULL, ended_at = now()")
    for ident in (*old, *young):
        await hooks.database.execute(
            "INSERT INTO webhook_attempts VALUES ($1, $2, $3, $4, now(), 200, '', 0.1)",
            TENANT, endpoint, ident, new_id(),
        )  # fmt: skip
    await hooks.database.execute(
        "INSERT INTO webhook_health (tenant, endpoint) VALUES ($1, $2), ($1, $1)", TENANT, endpoint
    )
    await upkeep.turn(0.0)
    rows = await hooks.database.fetch("SELECT id FROM webhook_deliveries")
    tries = await hooks.database.fetch("SELECT event FROM webhook_attempts")
    assert {str(row[0]) for row in rows} == {str(row[0]) for row in tries} == set(young)
    assert await hooks.database.fetchval("SELECT count(*) FROM webhook_health") == 1


async def test_a_look_sees_how_each_endpoint_does(engine, hooks, database):
    live, failing, off = [await hooks.add(URL) for _ in range(3)]
    await ill(hooks, failing, since=1, last=0.01)
    await database.execute("UPDATE webhooks SET status = 'disabled' WHERE id = $1", off)
    await hooks.tell(live, 3)
    await hooks.tell(failing, 5)
    ago = "UPDATE webhook_deliveries SET due_at = now() - interval '90 s' WHERE endpoint = $1"
    await database.execute(ago, failing)
    await database.execute("UPDATE webhook_deliveries SET due_at = now() + interval '1 h' WHERE endpoint = $1", live)
    seen = await look(database)
    assert seen.endpoints == {"live": 1, "failing": 1, "disabled": 1}
    assert seen.waiting == {"live": 3, "failing": 5, "disabled": 0}
    assert seen.late["live"] == 0
    assert 89 < seen.late["failing"] < 100
    await Upkeep(engine, Partitions(30)).turn(time.time())

    def shown(name, health):
        return REGISTRY.get_sample_value(name, {"health": health})

    assert shown("mailwarren_tracker_webhooks", "failing") == 1
    assert shown("mailwarren_tracker_webhooks_waiting", "live") == 3
    assert shown("mailwarren_tracker_webhooks_late_seconds", "live") == 0
    assert 89 < shown("mailwarren_tracker_webhooks_late_seconds", "failing") < 120
