"""Who is slowed down, and why: what the control log says of it, in Postgres."""

import itertools
import time
from datetime import UTC, datetime

import pytest

from mailwarren.contracts import codec
from mailwarren.contracts.events import Cancel
from mailwarren.contracts.ids import new_id, override_id
from mailwarren.contracts.shaping import SHAPING_KEY, Override, OverrideEnd, Scope, SlotPlan
from mailwarren.contracts.testing import TENANT
from mailwarren.tracker.adapters.partitions import Partitions
from mailwarren.tracker.domain.read import Message, Source, read
from mailwarren.tracker.ports import Refused
from mailwarren.tracker.upkeep import Upkeep

pytestmark = pytest.mark.postgres

NOW = 1_700_000_000.0


def entry(value):
    return read(Message(Source.SHAPING, "q", codec.encode(value), codec.headers_of(value)), NOW)


def an_override(**changes):
    values = {
        "id": override_id("site", "yahoo", "rule:rate_limited", 28_333_333),
        "scope": Scope.SITE,
        "name": "yahoo",
        "since": NOW,
        "until": NOW + 1800,
        "rate": 0.5,
        "cause": "rule:rate_limited",
        "sample": "421 4.7.0 [TSS04]",
    }
    return Override(**(values | changes))


def at(seconds):
    return datetime.fromtimestamp(seconds, UTC)


async def rows(database):
    return [dict(row) for row in await database.fetch("SELECT * FROM shaping_overrides ORDER BY since")]


async def test_an_override_is_kept_with_its_cause_and_comes_twice_without_harm(ledger, database):
    work = entry(an_override())
    for _ in range(2):
        await ledger.record([work])
    [row] = await rows(database)
    assert (row["scope"], row["name"], row["rate"], row["connections"]) == ("site", "yahoo", 0.5, None)
    assert (row["cause"], row["sample"]) == ("rule:rate_limited", "421 4.7.0 [TSS04]")
    assert (row["since"], row["until"], row["ended_at"]) == (at(NOW), at(NOW + 1800), None)


async def test_senders_that_see_the_same_write_one_row(ledger, database):
    seen = [an_override(), an_override(since=NOW + 1, until=NOW + 1801, sample="421 another"), an_override(rate=0.2)]
    await ledger.record([entry(one) for one in seen])
    [row] = await rows(database)
    assert (row["since"], row["until"], row["rate"]) == (at(NOW), at(NOW + 1801), 0.2)
    assert row["sample"] == "421 4.7.0 [TSS04]"


OVERRIDE = an_override(id=new_id(), scope=Scope.TENANT, name=str(TENANT), suspend=True, rate=None, cause="person:ada")
ENDS = (OverrideEnd(OVERRIDE.id, NOW + 60, "person:ada"), OverrideEnd(OVERRIDE.id, NOW + 61, "person:bob"))


@pytest.mark.parametrize("order", list(itertools.permutations([OVERRIDE, *ENDS])), ids=lambda _: "")
async def test_an_end_counts_whenever_it_comes(ledger, database, order):
    for one in order:
        await ledger.record([entry(one)])
    [row] = await rows(database)
    assert (row["scope"], row["name"], row["suspend"]) == ("tenant", str(TENANT), True)
    assert (row["ended_at"], row["ended_by"]) == (at(NOW + 60), "person:ada")


async def test_what_is_for_senders_alone_is_passed_over(ledger, database):
    await ledger.record([entry(SlotPlan("google", 1, 5, 1, NOW)), entry(Cancel(new_id(), TENANT, NOW))])
    assert await rows(database) == []


@pytest.mark.parametrize("change", [{"sample": "\0"}, {"until": 1e300}, {"connections": 2**40}])
async def test_what_cannot_be_stored_is_refused_and_holds_up_nothing(ledger, database, change):
    with pytest.raises(Refused):
        await ledger.record([entry(an_override(**change))])
    await ledger.record([entry(an_override())])
    assert len(await rows(database)) == 1


async def test_what_ended_longer_ago_than_events_are_kept_is_forgotten(engine, ledger, database):
    now = time.time()
    old, running = now - 31 * 86400, an_override(id=new_id(), since=now, until=now + 60)
    gone = an_override(id=new_id(), since=old - 60, until=old)
    unheard = OverrideEnd(new_id(), old, "breaker")
    kept = an_override(id=new_id(), since=old - 60, until=now - 86400)
    await ledger.record([entry(one) for one in (gone, unheard, kept, running)])
    await Upkeep(engine, Partitions(30)).turn(now)
    assert [row["id"] for row in await rows(database)] == [kept.id, running.id]


@pytest.mark.broker
async def test_the_control_log_reaches_the_table(start, broker, topology, database, eventually):
    await start()
    override = an_override(id=new_id())
    for value in (override, SlotPlan("google", 1, 5, 1, NOW), OverrideEnd(override.id, NOW + 5, "person:ada")):
        await broker.tell(value, SHAPING_KEY, topology.control_log)
    await eventually(lambda: database.fetch("SELECT FROM shaping_overrides WHERE ended_at IS NOT NULL AND name > ''"))
    await eventually(lambda: broker.depth(topology.shaping_queue) == 0)
