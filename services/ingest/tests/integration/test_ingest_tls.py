"""TLS as callers see it: asked for with a mail, shown in the timeline, counted in reports."""

from datetime import UTC, datetime, timedelta

import pytest

from mailwarren.contracts.ids import delivery_id, new_id
from mailwarren.contracts.tls import TlsNeed

DAY = datetime(2025, 3, 4, tzinfo=UTC).date()
EXPIRED = ("certificate-expired", "mx1.a.test", "192.0.2.1", 3, "certificate has expired")
POLICY = (["version: STSv1", "mode: enforce"], ["*.a.test"])


@pytest.fixture
def count(place, caller):
    """Write a row as the tracker does."""

    def write(
        domain, policy, result="", mx="", ip="", sessions=1, detail="", strings=((), ()), *, day=DAY, tenant=None
    ):
        place.sql(
            "INSERT INTO tls_results (tenant, day, domain, policy, result, mx, ip, sessions, detail, policy_string, "
            "mx_host) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            tenant or caller.tenant, day, domain, policy, result, mx, ip, sessions, detail, *map(list, strings),
        )  # fmt: skip

    return write


def test_a_report_has_the_form_of_the_rfc(client, caller, count):
    count("a.test", "sts", sessions=1000, strings=POLICY)
    count("a.test", "sts", *EXPIRED, POLICY)
    count("b.test", "no-policy-found", "starttls-not-supported", "mx.b.test", "192.0.2.9", 2)
    count("c.test", "tlsa", sessions=5, strings=(["3 1 1 00"], []))

    answer = client.get("/tls-reports", params={"day": "2025-03-04", "organization": "Us", "contact": "tls@us.test"})

    assert answer.status_code == 200
    assert answer.json() == {
        "organization-name": "Us",
        "date-range": {"start-datetime": "2025-03-04T00:00:00Z", "end-datetime": "2025-03-04T23:59:59Z"},
        "contact-info": "tls@us.test",
        "report-id": f"2025-03-04-{caller.tenant}",
        "policies": [
            {
                "policy": {
                    "policy-type": "sts",
                    "policy-string": ["version: STSv1", "mode: enforce"],
                    "policy-domain": "a.test",
                    "mx-host": ["*.a.test"],
                },
                "summary": {"total-successful-session-count": 1000, "total-failure-session-count": 3},
                "failure-details": [
                    {
                        "result-type": "certificate-expired",
                        "receiving-mx-hostname": "mx1.a.test",
                        "receiving-ip": "192.0.2.1",
                        "failed-session-count": 3,
                        "failure-reason-code": "certificate has expired",
                    }
                ],
            },
            {
                "policy": {"policy-type": "no-policy-found", "policy-domain": "b.test"},
                "summary": {"total-successful-session-count": 0, "total-failure-session-count": 2},
                "failure-details": [
                    {
                        "result-type": "starttls-not-supported",
                        "receiving-mx-hostname": "mx.b.test",
                        "receiving-ip": "192.0.2.9",
                        "failed-session-count": 2,
                    }
                ],
            },
            {
                "policy": {"policy-type": "tlsa", "policy-string": ["3 1 1 00"], "policy-domain": "c.test"},
                "summary": {"total-successful-session-count": 5, "total-failure-session-count": 0},
            },
        ],
        "has-more": False,
    }


def domains(answer):
    return [one["policy"]["policy-domain"] for one in answer.json()["policies"]]


def test_a_report_is_of_one_day_one_tenant_and_if_asked_for_one_domain(client, new_caller, count):
    count("a.test", "sts")
    count("b.test", "sts")
    count("a.test", "sts", day=DAY - timedelta(days=1))
    count("other.test", "sts", tenant=new_caller().tenant)

    assert domains(client.get("/tls-reports?day=2025-03-04")) == ["a.test", "b.test"]
    assert domains(client.get("/tls-reports?day=2025-03-03")) == ["a.test"]
    assert domains(client.get("/tls-reports?day=2025-03-04&domain=B.test.")) == ["b.test"]
    assert domains(client.get("/tls-reports")) == []


def test_pages_go_by_domain_and_cut_none_in_two(client, count):
    for domain in ("a.test", "b.test", "c.test"):
        count(domain, "sts")
        count(domain, "sts", *EXPIRED)
        count(domain, "no-policy-found")

    first = client.get("/tls-reports?day=2025-03-04&limit=2")
    second = client.get("/tls-reports?day=2025-03-04&limit=2&after_domain=b.test")

    assert domains(first) == ["a.test", "a.test", "b.test", "b.test"]
    assert (first.json()["has-more"], second.json()["has-more"]) == (True, False)
    assert domains(second) == ["c.test", "c.test"]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("day=yesterday", "`day`"),
        ("day=2026-13-01", "`day`"),
        ("limit=0", "`limit`"),
        ("limit=101", "`limit`"),
        ("after=x", "after"),
        ("domain=" + "x" * 254, "`domain`"),
        ("organization=%00", "`organization`"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_named(client, query, says):
    answer = client.get(f"/tls-reports?{query}")
    assert (answer.status_code, answer.json()["name"]) == (422, "invalid_parameter")
    assert says in answer.json()["message"]


def test_a_report_needs_full_access(server, new_caller):
    with server.client(new_caller("sending_access").token) as sending:
        assert sending.get("/tls-reports").status_code == 401


def test_a_mail_asks_for_tls_alone_in_a_batch_and_in_bulk(client, queues, mail):
    queues.empty()
    assert client.post("/emails", json=mail | {"tls": "required"}).status_code == 200
    assert client.post("/emails", json=mail).status_code == 200
    assert client.post("/emails/batch", json=[mail | {"tls": "required"}, mail | {"tls": None}]).status_code == 200
    bulk = {"from": mail["from"], "subject": "x", "text": "x", "recipients": [{"to": "a@b.test"}], "tls": "required"}
    assert client.post("/emails/bulk", json=bulk).status_code == 202

    asked = [parcel.content.tls for parcel in queues.recorded()]
    assert sorted(asked, key=str) == [None, None, *[TlsNeed.REQUIRED] * 3]


@pytest.mark.parametrize("value", ["yes", "opportunistic", True, 1, ""])
def test_another_wish_is_refused_by_name(client, mail, value):
    answer = client.post("/emails", json=mail | {"tls": value})
    assert answer.status_code == 422
    assert "tls" in answer.json()["message"]


def test_a_scheduled_mail_keeps_its_wish(client, mail, place, caller):
    answer = client.post("/emails", json=mail | {"tls": "required", "scheduled_at": "in 1 hour"})
    assert answer.status_code == 200
    [row] = place.sql("SELECT mail FROM scheduled WHERE id = $1", answer.json()["id"])
    assert b'"tls":"required"' in row["mail"]


def test_the_timeline_says_how_each_attempt_was_secured(client, place, caller):
    email = new_id()
    now = datetime.now(UTC)
    place.sql(
        'INSERT INTO emails (id, tenant, created_at, lane, partition, content, sender, subject, "to", cc, bcc, '
        "reply_to, tags, metadata, message_id, on_unknown) VALUES ($1, $2, $3, 'high', 5, $4, 'a@s.test', 'x', "
        "'{b@e.test}', '{}', '{}', '{}', '[]', '{}', 'm@s.test', 'resend')",
        email, caller.tenant, now, email.bytes,
    )  # fmt: skip
    for attempt, (tls, policy) in enumerate([(None, "mta-sts"), ("TLSv1.3 X", "mta-sts"), (None, None)], 1):
        place.sql(
            "INSERT INTO events (at, id, delivery_id, email_id, tenant, kind, attempt, trouble, bounce_class, tls, "
            "tls_policy, egress) "
            "VALUES ($1, $2, $3, $4, $5, 'deferred', $6, 'tls: expired', 'tls_expired', $7, $8, $9)",
            now + timedelta(seconds=attempt), new_id(), delivery_id(email, "b@e.test"), email, caller.tenant, attempt,
            tls, policy, "out1" if tls else None,
        )  # fmt: skip

    data = client.get(f"/emails/{email}/timeline").json()["data"]

    assert [(one["tls"], one["tls_policy"]) for one in data] == [
        (None, "mta-sts"), ("TLSv1.3 X", "mta-sts"), (None, None),
    ]  # fmt: skip
    assert [one["egress"] for one in data] == [None, "out1", None]
    assert data[0]["reply"]["bounce_class"] == "tls_expired"
