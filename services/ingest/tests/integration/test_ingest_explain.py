"""Why has it not been sent? Rows as the tracker writes them, overrides and senders around them."""

import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import pytest

from mailwarren.contracts.codec import encode, headers_of
from mailwarren.contracts.egress import EgressState, Warming
from mailwarren.contracts.ids import delivery_id, new_id
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shaping import Heartbeat, MissingKeys, SiteState
from mailwarren.store.states import ENDS, State

TOLD = "send.normal.google"
"""The queue of its mail as senders tell it: without the prefix that the tests' queues have."""


class Ledger:
    """An email with one delivery, and overrides."""

    def __init__(self, place, tenant):
        self.place, self.tenant = place, tenant
        self.now = datetime.now(UTC)

    def at(self, seconds):
        return None if seconds is None else self.now + timedelta(seconds=seconds)

    def email(self, state, *, lane="normal", expires=None, canceled=None, accepted=-60, **delivery):
        email_id = new_id()
        self.place.sql(
            'INSERT INTO emails (id, tenant, created_at, lane, partition, content, sender, subject, "to", cc, bcc, '
            "reply_to, tags, metadata, message_id, on_unknown, expires_at, cancel_requested_at) VALUES "
            "($1, $2, $3, $4, 5, $5, 'ada@sender.test', 'Hello', '{bob@gmail.com}', '{}', '{}', '{}', '[]', '{}', "
            "'m@sender.test', 'resend', $6, $7)",
            email_id, self.tenant, self.now, lane, email_id.bytes, self.at(expires), self.at(canceled),
        )  # fmt: skip
        values = {
            "shard": "google", "attempt": 0, "next_attempt_at": None, "reply_code": None, "reply_text": None,
            "trouble": None, "site": None, "host": None,
        } | delivery  # fmt: skip
        values["next_attempt_at"] = self.at(values["next_attempt_at"])
        self.place.sql(
            "INSERT INTO deliveries (id, email_id, tenant, address, role, lane, state, accepted_at, updated_at, "
            "ended_at, shard, attempt, next_attempt_at, reply_code, reply_text, trouble, site, host) VALUES "
            "($1, $2, $3, 'bob@gmail.com', 'to', $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
            delivery_id(email_id, "bob@gmail.com"), email_id, self.tenant, lane, state, self.at(accepted), self.now,
            self.now if state in ENDS else None, *values.values(),
        )  # fmt: skip
        return email_id

    def suspend(self, name, scope="site", until=600, *, suspend=True, rate=None):
        self.place.sql(
            "INSERT INTO shaping_overrides (id, scope, name, since, until, suspend, rate, cause, sample) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, 'rule:rate_limited', '421 slow down')",
            new_id(), scope, name, self.at(-5), self.at(until), suspend, rate,
        )  # fmt: skip


@pytest.fixture
def ledger(place, caller):
    place.sql("DELETE FROM shaping_overrides")
    yield Ledger(place, caller.tenant)
    place.sql("DELETE FROM shaping_overrides")


@pytest.fixture
def explain(client):
    def ask(email_id):
        answer = client.get(f"/emails/{email_id}/explain")
        assert answer.status_code == 200, answer.text
        [found] = answer.json()["data"]
        return found

    return ask


@pytest.fixture
def sender(client, queues, wait_until):
    """Makes a live sender that takes from some queues."""
    beats = []

    def tell(beat):
        message = queues.channel.prepare_message(encode(beat), headers=headers_of(beat))
        queues.channel.basic_publish(message, queues.topology.control.name, "")

    def make(*names, sites=(), missing_keys=(), egresses=msgspec.UNSET):
        beat = Heartbeat(
            sender=uuid4(), host="sender-0", fleet="all", version="1.0", started_at=1.0, at=time.time(), queues=names,
            in_flight=0, limit=500, waiting=0, mails_10s=0, sites=sites, missing_keys=missing_keys,
            egresses=egresses,
        )  # fmt: skip
        beats.append(beat)
        tell(beat)
        wait_until(lambda: str(beat.sender) in {row["id"] for row in client.get("/senders").json()["data"]})

    yield make
    for beat in beats:
        tell(Heartbeat(**({name: getattr(beat, name) for name in beat.__struct_fields__} | {"leaving": True})))


TRIED = (
    {},
    {"attempt": 1, "reply_code": 450, "reply_text": "try later", "site": "google", "host": "mx.google.com:25"},
    {"attempt": 2, "trouble": "connection refused", "site": "d.test", "next_attempt_at": 300},
    {"attempt": 3, "reply_code": 550, "reply_text": None, "next_attempt_at": -300, "shard": None},
    {"shard": "h31", "accepted": None},
    {"expires": -5},
    {"canceled": -5, "next_attempt_at": 60},
    {"site": "smarthost"},
)


@pytest.mark.parametrize("around", TRIED, ids=range(len(TRIED)))
@pytest.mark.parametrize("state", State)
def test_a_mail_in_any_state_is_explained(ledger, explain, state, around):
    ledger.suspend("google", suspend=False, rate=0.5)
    found = explain(ledger.email(state, **around))
    assert found["state"] == state
    assert (found["waits_for"] == "nothing") == (state in ENDS)
    assert found["summary"].endswith((".", ")"))
    assert "None" not in found["summary"]


def test_a_queued_mail_says_what_stands_before_it(ledger, explain, queues, client, mail, sender):
    name = queues.topology.send_queue(Lane.NORMAL, "google").name
    for _ in range(3):
        client.post("/emails", json=mail | {"to": "bob@gmail.com"})
    sender(TOLD)
    found = explain(ledger.email("accepted"))
    assert (found["waits_for"], found["queue"], found["ahead_at_most"]) == ("queue", name, 3)
    assert found["summary"] == f"At most 3 messages of up to 50 mails stand before it in {name}."
    assert (found["site"], found["site_guessed"], found["senders"]) == ("google", True, 1)
    budget = datetime.fromisoformat(found["budget_ends_at"]) - ledger.at(-60)
    assert budget.total_seconds() == pytest.approx(48 * 36)


def test_an_empty_queue_means_that_a_sender_has_it(ledger, explain, sender):
    sender(TOLD)
    found = explain(ledger.email("accepted"))
    assert (found["waits_for"], found["queue_state"], found["ahead_at_most"]) == ("turn", "flowing", None)


def test_a_mail_whose_egresses_have_sent_their_number_waits_for_one(ledger, explain, sender):
    full = EgressState("new", "new.test", warming=(Warming("google", 50, 50),))
    sender(TOLD, egresses=(full,))
    found = explain(ledger.email("accepted"))
    assert (found["waits_for"], found["ladder"]) == ("egress", "shaped")
    assert "new: 50 of 50 mails of its warm-up today" in found["summary"]


def test_a_deferred_mail_says_when_it_is_tried_again_and_why(ledger, explain, sender):
    sender(
        "send.other", sites=(SiteState("google", open=2, busy=1, waiting=4, slots=3), SiteState("d.test", waiting=1))
    )
    email = ledger.email("deferred", **TRIED[1] | {"next_attempt_at": 305})
    ledger.suspend("google", suspend=False, rate=0.5)
    found = explain(email)
    assert (found["waits_for"], found["ladder"]) == ("retry", "deferred")
    assert datetime.fromisoformat(found["next_attempt_at"]) == ledger.at(305)
    assert found["summary"].startswith("Attempt 1 was deferred; the next is in 5 min")
    assert "Last reply, of mx.google.com:25: 450 try later." in found["summary"]
    assert "The site google is limited to 30 mails/min (rule:rate_limited: 421 slow down)." in found["summary"]
    assert (found["last_attempt"]["number"], found["last_attempt"]["reply"]["code"]) == (1, 450)
    assert (found["site_now"]["open"], found["site_now"]["waiting"], found["site_now"]["slots"]) == (2, 4, 3)
    assert found["overrides"][0]["rate"] == 0.5


@pytest.mark.parametrize(
    ("scope", "name", "said"),
    [
        ("site", "google", "The site google, where it probably goes, is suspended for 10 min"),
        ("tenant", "{tenant}", "This tenant is suspended for 10 min"),
    ],
)
def test_a_suspended_mail_says_until_when_and_whose_fault_it_is(ledger, explain, scope, name, said):
    ledger.suspend(name.format(tenant=ledger.tenant), scope, until=630)
    ledger.suspend(str(new_id()), "tenant", until=5000)
    ledger.suspend("yahoo", until=5000)
    found = explain(ledger.email("accepted"))
    assert (found["waits_for"], found["ladder"]) == ("shaping", "shaped")
    assert found["summary"].startswith(said)
    assert "421 slow down" in found["summary"]
    assert datetime.fromisoformat(found["next_attempt_at"]) == ledger.at(630)
    assert len(found["overrides"]) == 1


def test_a_delivered_mail_says_so(ledger, explain):
    ledger.suspend("google")
    tried = TRIED[1] | {"reply_code": 250, "reply_text": "2.0.0 OK"}
    found = explain(ledger.email("delivered", **tried))
    assert found["summary"].startswith("It was delivered at ")
    assert found["summary"].endswith("Last reply, of mx.google.com:25: 250 2.0.0 OK.")
    assert (found["overrides"], found["queue"], found["budget_ends_at"]) == ([], None, None)


def test_without_a_live_sender_it_says_so_once_they_would_have_been_heard(ledger, explain, server, monkeypatch):
    email = ledger.email("accepted")
    assert explain(email)["senders"] in (0, None)
    heartbeats = server.api.app._direct["GET", "/v1/senders"]._services.heartbeats
    monkeypatch.setattr(heartbeats, "_since", time.monotonic() - 60)
    found = explain(email)
    assert (found["waits_for"], found["senders"]) == ("sender", 0)
    assert found["summary"].startswith("No live sender takes from ")


def test_a_scheduled_mail_says_when_it_is_sent_and_who_has_to_act(explain, client, mail, place):
    sent = client.post("/emails", json=mail | {"scheduled_at": "in 2 hours"}).json()["id"]
    found = explain(sent)
    assert (found["waits_for"], found["state"], found["to"]) == ("schedule", "scheduled", "bob@example.test")
    due = datetime.fromisoformat(client.get(f"/emails/{sent}").json()["scheduled_at"])
    assert datetime.fromisoformat(found["next_attempt_at"]) == due
    assert found["summary"].startswith(f"It is scheduled for {due:%Y-%m-%d %H:%M:%S} UTC, in ")
    place.sql(
        "UPDATE scheduled SET due_at = now() - interval '2 hours', state = 'held', held_at = now() WHERE id = $1", sent
    )
    found = explain(sent)
    assert (found["waits_for"], found["next_attempt_at"]) == ("person", None)
    assert client.post(f"/emails/{sent}/cancel").status_code == 200
    found = explain(sent)
    assert (found["waits_for"], found["state"]) == ("nothing", "canceled")
    assert found["summary"].endswith("before its time.")


def test_a_mail_with_attachments_may_wait_for_them(ledger, explain, place, sender):
    sender(TOLD)
    email = ledger.email("accepted")
    assert "attachments" not in explain(email)["summary"]
    place.sql(
        "INSERT INTO email_attachments (tenant, email_id, id, position, digest, filename, content_type, size, "
        "created_at) VALUES ($1, $2, $3, 0, '\\x00', 'a.pdf', 'application/pdf', 1, now())",
        ledger.tenant, email, new_id(),
    )  # fmt: skip
    found = explain(email)
    assert found["waits_for"] == "turn"
    assert "It has attachments: while a sender cannot fetch them, it waits on the ladder" in found["summary"]


def test_a_mail_whose_domain_has_no_keys_waits_for_them(ledger, explain, sender):
    email = ledger.email("accepted")
    sender(TOLD, missing_keys=(MissingKeys(uuid4(), "sender.test", time.time() - 60, "of somebody else"),))
    assert explain(email)["waits_for"] != "keys"
    sender(TOLD, missing_keys=(MissingKeys(ledger.tenant, "sender.test", time.time() - 60, "ingest answered 503"),))
    found = explain(email)
    assert (found["waits_for"], found["ladder"]) == ("keys", "keys")
    assert "DKIM keys of sender.test (ingest answered 503)" in found["summary"]


def test_a_mail_of_another_tenant_is_not_there(ledger, server, new_caller):
    email = ledger.email("accepted")
    with server.client(new_caller().token) as stranger:
        assert stranger.get(f"/emails/{email}/explain").status_code == 404
