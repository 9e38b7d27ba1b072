"""A mailbox that is full again and again is one that nobody reads: it gets no mail for a while."""

import datetime as dt
import time

import pytest

from mailwarren.contracts.events import Kind
from mailwarren.contracts.testing import TENANT, a_parcel, an_attempt, an_event
from mailwarren.tracker.domain.suppression import FULL_HOLDS, FULL_WITHIN

pytestmark = pytest.mark.postgres

NOW = time.time()
DAY = 86400.0


async def bounce(ledger, inbound, at, address="bob@x.test", bounce_class="quota", **parcel):
    one = a_parcel(to=[address], accepted_at=at - 1.0, **parcel)
    tried = an_attempt(bounce_class=bounce_class)
    event = an_event(one, Kind.BOUNCED, tried=tried, at=at)
    await ledger.record([inbound.parcel(one), inbound.events(event)])
    return event


async def listed(database):
    rows = await database.fetch("SELECT tenant, address, reason, origin, email_id, expires_at FROM suppressions")
    return [tuple(row) for row in rows]


async def test_the_third_time_in_a_week_suppresses_for_a_month(ledger, database, inbound):
    await bounce(ledger, inbound, NOW - 6 * DAY)
    await bounce(ledger, inbound, NOW - 3 * DAY, "BOB@x.test")
    assert await listed(database) == []
    third = await bounce(ledger, inbound, NOW)
    ((tenant, address, reason, origin, email_id, expires_at),) = await listed(database)
    assert (tenant, address, reason, origin, email_id) == (TENANT, "bob@x.test", "quota", "bounce", third.email_id)
    assert abs(expires_at.timestamp() - (NOW + FULL_HOLDS)) < 1


async def test_bounces_that_are_older_or_for_another_reason_do_not_count(ledger, database, inbound):
    await bounce(ledger, inbound, NOW - FULL_WITHIN - DAY)
    await bounce(ledger, inbound, NOW - DAY, bounce_class="policy")
    await bounce(ledger, inbound, NOW - DAY, "eve@x.test")
    await bounce(ledger, inbound, NOW - DAY)
    await bounce(ledger, inbound, NOW)
    assert await listed(database) == []


async def test_the_same_report_twice_counts_once(ledger, database, inbound):
    await bounce(ledger, inbound, NOW - DAY)
    event = await bounce(ledger, inbound, NOW)
    for _ in range(3):
        await ledger.record([inbound.events(event)])
    assert await listed(database) == []


async def test_what_a_person_put_on_the_list_stays_as_it_is(ledger, database, inbound):
    await database.execute(
        "INSERT INTO suppressions (tenant, address, reason, origin, created_at) "
        "VALUES ($1, 'bob@x.test', 'asked', 'manual', $2)",
        TENANT,
        dt.datetime.fromtimestamp(NOW, dt.UTC),
    )
    for days in (2, 1, 0):
        await bounce(ledger, inbound, NOW - days * DAY)
    assert [(row[2], row[3], row[5]) for row in await listed(database)] == [("asked", "manual", None)]


async def test_an_address_beyond_ascii_is_counted_by_its_key(ledger, database, inbound):
    await bounce(ledger, inbound, NOW - 2 * DAY, "Zoë@x.test")
    await bounce(ledger, inbound, NOW - DAY, "ZOË@x.test")
    await bounce(ledger, inbound, NOW - DAY, "zoë@x.test")
    assert await listed(database) == []
    await bounce(ledger, inbound, NOW, "ZOë@x.test")
    assert [row[1] for row in await listed(database)] == ["zoë@x.test"]
