"""``GET /v1/emails/metrics`` over rows as the tracker writes them, through the official SDK."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import resend
from resend.emails._emails import _MetricsResponse
from sdk_shapes import check, refused

from mailwarren.contracts.counters import NO_BROADCAST
from mailwarren.contracts.ids import delivery_id, new_id

DAY = datetime(2026, 3, 2, tzinfo=UTC)
"""A Monday."""


@pytest.fixture
def count(place, caller):
    """Writes a row of counters."""

    def write(at, domain="a.test", broadcast=NO_BROADCAST, *, tenant=None, **counters):
        names = ", ".join(counters)
        marks = ", ".join(f"${number}" for number in range(5, 5 + len(counters)))
        place.sql(
            f"INSERT INTO email_metrics (tenant, quarter, domain, broadcast, {names}) VALUES ($1, $2, $3, $4, {marks})",
            tenant or caller.tenant, at, domain, broadcast, *counters.values(),
        )  # fmt: skip

    return write


@pytest.fixture
def new_domain(place, caller):
    """Makes a sending domain."""

    def make(name):
        ident = new_id()
        place.sql(
            "INSERT INTO domains (id, tenant, name, region, return_path, tls, state, findings, created_at, updated_at, "
            "next_check_at) VALUES ($1, $2, $3, '', 'send', 'opportunistic', 'verified', '{}', now(), now(), now())",
            ident, caller.tenant, name,
        )  # fmt: skip
        return ident

    return make


def metrics(**params):
    days = {"start_date": "2026-03-02", "end_date": "2026-03-08"}
    return resend.Emails.metrics(days | params)


def test_totals_of_all_metrics(sdk, count):
    count(DAY, received=12, sent=10, delivered=8, bounced_permanent=1, bounced_transient=1, delivery_delayed=3)
    count(DAY + timedelta(days=6, hours=23, minutes=45), received=1, sent=1, failed=1)
    count(DAY + timedelta(days=7), received=500)
    count(DAY - timedelta(minutes=15), received=500)
    count(DAY, received=500, tenant=new_id())

    found = metrics()

    check(found, _MetricsResponse)
    assert (found["object"], found["granularity"], found["dimensions"], "data" in found) == (
        "metrics",
        "daily",
        [],
        False,
    )
    assert (found["start_date"], found["end_date"]) == ("2026-03-02T00:00:00Z", "2026-03-09T00:00:00Z")
    totals = found["totals"]
    assert [*totals] == found["metrics"]
    assert {name: value for name, value in totals.items() if value} == {
        "received": 13, "sent": 11, "delivered": 8, "bounced": 2, "bounced_permanent": 1, "bounced_transient": 1,
        "delivery_delayed": 3, "failed": 1, "delivery_rate": 72.73, "bounce_rate": 18.18,
    }  # fmt: skip


def test_periods_are_those_of_the_time_zone(sdk, count):
    for hours in (0, 17, 18, 18.5, 30):
        count(DAY + timedelta(hours=hours), sent=1)
    days = metrics(dimensions=["period"], metrics=["sent"], timezone="Asia/Kolkata", start_date="2026-03-01")
    assert days["data"] == [{"period": "2026-03-02", "sent": 3}, {"period": "2026-03-03", "sent": 2}]
    hours = metrics(dimensions=["period"], metrics=["sent"], granularity="hourly", end_date="2026-03-02")
    assert hours["data"] == [
        {"period": "2026-03-02T00:00:00+00:00", "sent": 1},
        {"period": "2026-03-02T17:00:00+00:00", "sent": 1},
        {"period": "2026-03-02T18:00:00+00:00", "sent": 2},
    ]
    weeks = metrics(dimensions=["period"], metrics=["sent"], granularity="weekly")
    assert (weeks["data"], weeks["totals"]) == ([{"period": "2026-03-02", "sent": 5}], {"sent": 5})


def test_by_domain_and_of_some_domains(sdk, count, new_domain):
    name = f"known-{new_id().hex}.test"
    known = new_domain(name)
    count(DAY, name, sent=2)
    count(DAY, f"news.{name}", sent=3)
    count(DAY, "other.test", sent=4)
    rows = metrics(dimensions=["domain"], metrics=["sent"])["data"]
    assert sorted(rows, key=lambda row: row["sent"]) == [
        {"domain_id": None, "domain_name": "other.test", "sent": 4},
        {"domain_id": str(known), "domain_name": name, "sent": 5},
    ]
    assert metrics(domain_id=[str(known)], metrics=["sent"])["totals"] == {"sent": 5}
    assert metrics(domain_id=[str(new_id())], metrics=["sent"])["totals"] == {"sent": 0}


def test_by_broadcast_with_those_who_left(sdk, count, place, caller):
    broadcast = new_id()
    place.sql(
        "INSERT INTO broadcasts (id, tenant, state, name, segment, lane, sender, reply_to, preview_text, created_at, "
        "updated_at) VALUES ($1, $2, 'sent', 'March', $3, 'bulk', 'Ada <ada@a.test>', '{}', '', now(), now())",
        broadcast, caller.tenant, new_id(),
    )  # fmt: skip
    count(DAY, broadcast=broadcast, sent=10, delivered=10)
    count(DAY, sent=7)
    place.sql(
        "INSERT INTO unsubscribes (tenant, topic, address, reason, source, created_at) "
        "VALUES ($1, $2, 'bob@x.test', 'unsubscribe', $3, $4)",
        caller.tenant, NO_BROADCAST, broadcast, DAY + timedelta(hours=1),
    )  # fmt: skip
    found = metrics(dimensions=["broadcast"], metrics=["sent", "unsubscribed", "unsubscribe_rate"])
    assert found["data"] == [
        {
            "broadcast_id": str(broadcast),
            "broadcast_name": "March",
            "sent": 10,
            "unsubscribed": 1,
            "unsubscribe_rate": 10.0,
        }
    ]
    assert found["totals"] == {"sent": 17, "unsubscribed": 1, "unsubscribe_rate": 10.0}
    assert metrics(broadcast_id=[str(broadcast)], metrics=["sent"])["totals"] == {"sent": 10}


def test_single_emails_come_from_the_ledger(sdk, place, caller):
    email, other = new_id(), new_id()
    for ident, address, state, bounced in (
        (email, "a@x.test", "delivered", None),
        (email, "b@x.test", "bounced", "quota"),
        (other, "c@x.test", "delivered", None),
    ):
        place.sql(
            "INSERT INTO deliveries (id, email_id, tenant, address, lane, state, accepted_at, updated_at, ended_at, "
            "bounce_class, sender_domain, deferred_at) "
            "VALUES ($1, $2, $3, $4, 'normal', $5, $6, $6, $6, $7, 'a.test', $8)",
            delivery_id(ident, address), ident, caller.tenant, address, state, DAY, bounced,
            DAY if state == "bounced" else None,
        )  # fmt: skip
    for ident in (email, other):
        place.sql(
            'INSERT INTO emails (id, tenant, created_at, lane, partition, content, sender, subject, "to", cc, bcc, '
            "reply_to, tags, metadata, message_id, on_unknown) VALUES ($1, $2, $3, 'normal', 3, 'x', 'a@a.test', 's', "
            "'{}', '{}', '{}', '{}', '[]', '{}', 'm@a.test', 'resend')",
            ident, caller.tenant, DAY,
        )  # fmt: skip
    wanted = ["received", "sent", "delivered", "bounced_transient", "delivery_delayed"]
    one = metrics(email_id=[str(email)], metrics=wanted)
    assert one["totals"] == dict(zip(wanted, (2, 2, 1, 1, 1), strict=True))
    both = metrics(dimensions=["email"], metrics=["delivered"])["data"]
    assert sorted(both, key=lambda row: row["email_id"]) == [
        {"email_id": str(ident), "delivered": 1} for ident in sorted((email, other))
    ]


def test_the_sdk_that_waits_for_nothing_gets_the_same(sdk, count):
    count(DAY, sent=3)
    found = asyncio.run(
        resend.Emails.metrics_async({"start_date": "2026-03-02", "end_date": "2026-03-03", "metrics": ["sent"]})
    )
    assert found["totals"] == {"sent": 3}


def test_what_cannot_be_answered_is_refused(sdk):
    assert refused(resend.Emails.metrics, {"granularity": "yearly"})[0] == 422
    assert "`x` is none" in refused(resend.Emails.metrics, {"email_id": ["x"]})[1]


def test_a_key_that_may_only_send_reads_no_metrics(server, new_caller):
    with server.client(new_caller("sending_access").token) as client:
        assert client.get("/emails/metrics").status_code == 401
