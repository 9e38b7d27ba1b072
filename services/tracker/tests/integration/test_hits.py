"""Opens and clicks in the database: recorded once, counted when they count, told to webhooks."""

import time

import msgspec
import pytest
from msgspec.structs import replace

from mailwarren.contracts.events import Kind
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.testing import TENANT, a_parcel, an_attempt, an_event
from mailwarren.contracts.tracking import Flag, Hit, HitKind, Hits
from mailwarren.contracts.webhooks import EventType

pytestmark = pytest.mark.postgres


def a_hit(parcel, kind=HitKind.OPENED, number=0, after=60.0, **changes) -> Hit:
    """A hit of a delivery, so long after it was delivered."""
    delivery = parcel.deliveries[number]
    hit = Hit(new_id(), kind, delivery.id, delivery.email_id, TENANT, parcel.accepted_at + after, parcel.accepted_at)
    return replace(hit, **changes)


@pytest.fixture
def sent(ledger, inbound):
    """Records a parcel that was delivered when it was accepted."""

    async def record(*to):
        parcel = a_parcel(to=to or ["a@x.test"], accepted_at=time.time() - 300)
        events = [an_event(parcel, index=number, at=parcel.accepted_at) for number in range(len(parcel.deliveries))]
        await ledger.record([inbound.parcel(parcel), inbound.events(*events)])
        return parcel

    return record


async def delivery(database, parcel, number=0):
    return await database.fetchrow("SELECT * FROM deliveries WHERE id = $1", parcel.deliveries[number].id)


async def kinds(database):
    found = await database.fetch("SELECT kind, sum(count)::int8 AS count FROM stats_minute GROUP BY kind")
    return {row["kind"]: row["count"] for row in found}


async def test_an_open_and_clicks_are_recorded_and_counted_once_however_often_they_come(
    ledger, database, inbound, sent
):
    parcel = await sent()
    opened = a_hit(parcel, agent="Mozilla/5.0 (X11)", flag=Flag.PROXY)
    clicks = [a_hit(parcel, HitKind.CLICKED, after=after, link="https://x.test/?a=1") for after in (70.0, 65.0)]
    work = inbound.value(Hits((opened, *clicks)))
    for _ in range(3):
        recorded = await ledger.record([work])
    assert recorded.seen == []
    row = await delivery(database, parcel)
    assert (row["state"], row["opens"], row["clicks"]) == ("delivered", 1, 2)
    assert row["opened_at"].timestamp() == pytest.approx(opened.at, abs=0.001)
    assert row["clicked_at"].timestamp() == pytest.approx(clicks[1].at, abs=0.001)
    events = await database.fetch("SELECT * FROM events WHERE kind <> 'delivered' ORDER BY at")
    assert [(event["kind"], event["link"], event["flag"], event["agent"], event["ip"]) for event in events] == [
        ("opened", None, "proxy", "Mozilla/5.0 (X11)", None),
        ("clicked", "https://x.test/?a=1", None, None, None),
        ("clicked", "https://x.test/?a=1", None, None, None),
    ]
    counts = await kinds(database)
    assert {kind: counts[kind] for kind in counts if kind not in {"accepted", "delivered"}} == {
        "opened": 1, "clicked": 2, "unique_opened": 1, "unique_clicked": 1,
    }  # fmt: skip


async def test_what_is_flagged_is_recorded_and_does_not_count(ledger, database, inbound, sent):
    parcel = await sent()
    await ledger.record(
        [
            inbound.value(
                Hits((a_hit(parcel, flag=Flag.BOT), a_hit(parcel, after=1.0), a_hit(parcel, flag=Flag.PREFETCH)))
            )
        ]
    )
    row = await delivery(database, parcel)
    assert (row["opens"], row["opened_at"]) == (0, None)
    found = await database.fetch("SELECT flag FROM events WHERE kind = 'opened' ORDER BY flag")
    assert [event["flag"] for event in found] == ["bot", "prefetch", "quick"]
    counts = await kinds(database)
    assert (counts["automated"], "opened" in counts) == (3, False)


async def test_each_delivery_and_each_batch_has_its_own_first(ledger, database, inbound, sent):
    parcel = await sent("a@x.test", "b@x.test")
    for number in (0, 1, 0):
        await ledger.record([inbound.value(Hits((a_hit(parcel, number=number),)))])
    counts = await kinds(database)
    assert (counts["opened"], counts["unique_opened"]) == (3, 2)
    assert [(await delivery(database, parcel, number))["opens"] for number in (0, 1)] == [2, 1]


async def test_a_hit_beside_the_outcome_in_one_batch_meets_its_delivery(ledger, database, inbound):
    parcel = a_parcel(accepted_at=time.time() - 300)
    outcome = an_event(parcel, at=parcel.accepted_at)
    await ledger.record([inbound.events(outcome), inbound.value(Hits((a_hit(parcel),))), inbound.parcel(parcel)])
    row = await delivery(database, parcel)
    assert (row["state"], row["opens"]) == ("delivered", 1)


async def test_a_mail_that_is_deferred_may_have_arrived_all_the_same(ledger, database, inbound):
    parcel = a_parcel(accepted_at=time.time() - 300)
    lost = an_event(parcel, Kind.DEFERRED, tried=an_attempt(), at=parcel.accepted_at)
    await ledger.record([inbound.parcel(parcel), inbound.events(lost), inbound.value(Hits((a_hit(parcel),)))])
    row = await delivery(database, parcel)
    assert (row["state"], row["opens"], row["attempt"]) == ("deferred", 1, 1)


async def test_hits_of_mail_that_is_forgotten_or_of_somebody_else_leave_no_trace(ledger, database, inbound, sent):
    parcel = await sent()
    unknown = a_hit(a_parcel())
    foreign = a_hit(parcel, tenant=new_id())
    recorded = await ledger.record([inbound.value(Hits((unknown, foreign)))])
    assert recorded.seen == []
    assert await database.fetchval("SELECT count(*) FROM events WHERE kind = 'opened'") == 0
    assert await database.fetchval("SELECT count(*) FROM deliveries") == 1
    assert (await delivery(database, parcel))["opens"] == 0


async def test_a_hit_that_no_column_takes_is_refused_alone(ledger, database, inbound, sent):
    from mailwarren.tracker.ports import Refused

    parcel = await sent()
    with pytest.raises(Refused):
        await ledger.record([inbound.value(Hits((a_hit(parcel), a_hit(parcel, agent="a NUL: \0"))))])
    assert (await delivery(database, parcel))["opens"] == 0


async def test_webhooks_are_told_of_what_counts_in_the_same_transaction(ledger, database, inbound, sent):
    await database.execute("TRUNCATE webhooks, webhook_deliveries, webhook_health")
    await database.execute(
        "INSERT INTO webhooks (tenant, id, endpoint, events, status, secret, enabled_at, created_at, updated_at) "
        "VALUES ($1, $2, 'https://r.example.test', $3, 'enabled', 'x'::bytea, now(), now(), now())",
        TENANT, new_id(), [EventType.EMAIL_OPENED.value, EventType.EMAIL_CLICKED.value],
    )  # fmt: skip
    parcel = await sent()
    hits = (a_hit(parcel), a_hit(parcel, flag=Flag.BOT), a_hit(parcel, HitKind.CLICKED, link="https://x.test"))
    for _ in range(2):
        await ledger.record([inbound.value(Hits(hits))])
    found = await database.fetch("SELECT kind, data, email_id FROM webhook_deliveries ORDER BY id")
    assert [row["kind"] for row in found] == ["email.opened", "email.clicked"]
    assert {row["email_id"] for row in found} == {parcel.deliveries[0].email_id}
    assert msgspec.json.decode(found[0]["data"]) == {"to": ["a@x.test"]}
    assert msgspec.json.decode(found[1]["data"])["click"]["link"] == "https://x.test"
    await database.execute("TRUNCATE webhooks, webhook_deliveries, webhook_health")
