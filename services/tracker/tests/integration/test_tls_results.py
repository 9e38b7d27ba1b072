"""How TLS went: with each attempt, and counted by day for reports."""

import datetime as dt

import pytest
from msgspec.structs import replace

from mailwarren.contracts import codec
from mailwarren.contracts.events import Kind
from mailwarren.contracts.ids import event_id
from mailwarren.contracts.parcel import Wait
from mailwarren.contracts.reply import Reply
from mailwarren.contracts.testing import TENANT, a_parcel, an_attempt, an_event
from mailwarren.contracts.tls import TlsPolicy, TlsSession
from mailwarren.tracker.adapters.partitions import Partitions
from mailwarren.tracker.domain.read import Message, Source, read
from mailwarren.tracker.upkeep import Upkeep

pytestmark = pytest.mark.postgres

TLS = "TLSv1.3 TLS_AES_256_GCM_SHA384"
GOOD = TlsSession(
    "example.test", TlsPolicy.STS, mx="mx1.example.test", ip="192.0.2.1", policy_string=("mode: enforce",)
)
BAD = TlsSession(
    "example.test", TlsPolicy.STS, "certificate-expired", "mx1.example.test", "192.0.2.1", 'it "expired"',
    ("version: STSv1", "mode: enforce"), ("*.example.test", "a\\b"),
)  # fmt: skip


async def rows(database):
    found = await database.fetch("SELECT * FROM tls_results ORDER BY tenant, day, domain, policy, result, mx, ip")
    return [dict(row) for row in found]


def deferral(parcel, *sessions):
    """The parcel as a sender puts it on the ladder."""
    last = an_attempt(parcel.attempt, Reply(450, "later", "4.2.0"), sessions=sessions)
    return replace(
        parcel,
        attempt=parcel.attempt + 1,
        wait=Wait.DEFERRED,
        not_before=last.at + 60,
        deliveries=tuple(replace(delivery, last=last) for delivery in parcel.deliveries),
    )


async def test_version_and_cipher_stand_with_the_attempt_and_with_the_delivery(ledger, database, inbound):
    parcel = a_parcel()
    tried = an_attempt(tls=TLS, tls_policy="mta-sts", sessions=(GOOD,))
    await ledger.record([inbound.parcel(parcel), inbound.events(an_event(parcel, tried=tried))])

    for table in ("deliveries", "events"):
        row = await database.fetchrow(f"SELECT tls, tls_policy FROM {table}")
        assert tuple(row) == (TLS, "mta-sts")


async def test_what_it_left_from_stands_with_the_attempt_and_with_the_delivery(ledger, database, inbound):
    parcel = a_parcel()
    await ledger.record([inbound.parcel(parcel), inbound.events(an_event(parcel, tried=an_attempt(egress="out1")))])

    for table in ("deliveries", "events"):
        assert await database.fetchval(f"SELECT egress FROM {table}") == "out1"


async def test_a_later_attempt_without_tls_says_so(ledger, database, inbound):
    parcel = a_parcel()
    await ledger.record([inbound.parcel(parcel), inbound.events(
        an_event(parcel, Kind.DEFERRED, tried=an_attempt(1, Reply(450, "later"), tls=TLS))
    )])  # fmt: skip
    assert await database.fetchval("SELECT tls FROM deliveries") == TLS

    again = replace(parcel, attempt=2)
    await ledger.record([inbound.events(an_event(again, tried=an_attempt(2)))])

    assert await database.fetchval("SELECT tls FROM deliveries") is None
    assert sorted(
        [tuple(row) for row in await database.fetch("SELECT attempt, tls FROM events")], key=lambda row: row[0]
    ) == [(1, TLS), (2, None)]


async def test_negotiations_are_added_up_by_day_domain_and_result(ledger, database, inbound):
    first, second = a_parcel(to=("a@example.test", "b@example.test")), a_parcel()
    at = dt.datetime(2026, 11, 22, 23, 59, tzinfo=dt.UTC).timestamp()
    elsewhere = replace(BAD, mx="mx2.example.test", ip="192.0.2.2")
    none = TlsSession("other.test", TlsPolicy.NONE, "starttls-not-supported", "mx.other.test", "192.0.2.9")

    await ledger.record([
        inbound.events(
            an_event(first, index=0, at=at, tried=an_attempt(sessions=(BAD, GOOD))),
            an_event(first, index=1, at=at, tried=an_attempt(sessions=(GOOD, elsewhere))),
        )
    ])  # fmt: skip
    await ledger.record([inbound.events(an_event(second, at=at + 120, tried=an_attempt(sessions=(BAD, none))))])

    found = [
        (row["day"].day, row["domain"], row["policy"], row["result"], row["mx"], row["ip"], row["sessions"])
        for row in await rows(database)
    ]
    assert found == [
        (22, "example.test", "sts", "", "", "", 2),
        (22, "example.test", "sts", "certificate-expired", "mx1.example.test", "192.0.2.1", 1),
        (22, "example.test", "sts", "certificate-expired", "mx2.example.test", "192.0.2.2", 1),
        (23, "example.test", "sts", "certificate-expired", "mx1.example.test", "192.0.2.1", 1),
        (23, "other.test", "no-policy-found", "starttls-not-supported", "mx.other.test", "192.0.2.9", 1),
    ]
    bad = (await rows(database))[1]
    assert (bad["tenant"], bad["detail"]) == (TENANT, 'it "expired"')
    assert (bad["policy_string"], bad["mx_host"]) == (["version: STSv1", "mode: enforce"], ["*.example.test", "a\\b"])


async def test_an_outcome_that_comes_twice_counts_once(ledger, database, inbound):
    parcel = a_parcel()
    event = an_event(parcel, tried=an_attempt(sessions=(BAD,)))
    for works in ([inbound.events(event), inbound.events(event)], [inbound.events(event)]):
        await ledger.record(works)
    assert [row["sessions"] for row in await rows(database)] == [1]


async def test_a_deferral_tells_of_its_negotiations_and_the_end_without_another_attempt_does_not(
    ledger, database, inbound
):
    parcel = a_parcel()
    later = deferral(parcel, BAD)
    work = read(Message(Source.EVENTS, "q", codec.encode_parcel(later), codec.parcel_headers(later)), 0.0)
    await ledger.record([inbound.parcel(parcel), work])
    assert [row["sessions"] for row in await rows(database)] == [1]

    last = later.deliveries[0].last
    expired = an_event(later, Kind.EXPIRED, tried=last, attempt=later.attempt)
    await ledger.record([inbound.events(expired)])
    assert [row["sessions"] for row in await rows(database)] == [1]

    other = a_parcel()
    gave_up = an_event(other, Kind.EXPIRED, tried=an_attempt(1, Reply(450, "x"), sessions=(BAD,)))
    await ledger.record([inbound.events(gave_up)])
    assert [row["sessions"] for row in await rows(database)] == [2], "its own attempt was the last one"
    assert gave_up.id == event_id(other.deliveries[0].id, 1, Kind.EXPIRED)


async def test_counts_are_kept_as_long_as_events(engine, database):
    for age in (29, 31):
        await database.execute(
            "INSERT INTO tls_results (tenant, day, domain, policy, result, mx, ip, sessions) "
            "VALUES ($1, current_date - $2::int, 'x.test', 'sts', '', '', '', 1)", TENANT, age,
        )  # fmt: skip
    await Upkeep(engine, Partitions(30)).turn(dt.datetime.now(dt.UTC).timestamp())
    assert [(dt.datetime.now(dt.UTC).date() - row["day"]).days for row in await rows(database)] == [29]
