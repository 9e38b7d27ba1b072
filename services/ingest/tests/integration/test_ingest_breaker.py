"""Bulk mail of a tenant of whose mail too much bounced: refused with the reason, looked at, and resumed."""

from datetime import UTC, datetime, timedelta

import pytest

from mailwarren.contracts.codec import decode_control
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.shaping import OverrideEnd
from mailwarren.ingest.commands import breaker
from mailwarren.ingest.commands.api import Api

WHY = "12.0% of 4,000 mails bounced or drew complaints (480 bounces, 0 complaints)"
MAIL = {"from": "a@a.test", "to": "b@x.test", "subject": "s", "text": "t"}
BULK = {"from": "a@a.test", "subject": "s", "text": "t", "recipients": [{"to": "b@x.test"}]}


class Pause:
    """A row as the tracker writes it."""

    def __init__(self, place, tenant):
        self.place, self.tenant, self.id = place, tenant, new_id()
        now = datetime.now(UTC)
        place.sql(
            "INSERT INTO shaping_overrides (id, scope, name, since, until, suspend, cause, sample, lane) "
            "VALUES ($1, 'tenant', $2, $3, $4, true, 'bounces', $5, 'bulk')",
            self.id, str(tenant), now - timedelta(minutes=5), now + timedelta(days=1), WHY,
        )  # fmt: skip
        place.sql(
            "INSERT INTO breakers (tenant, state, since, decided, bounced, complained, override) "
            "VALUES ($1, 'paused', $2, 4000, 480, 0, $3)",
            tenant, now, self.id,
        )  # fmt: skip

    def end(self):
        self.place.sql("UPDATE shaping_overrides SET ended_at = now(), ended_by = 'x' WHERE id = $1", self.id)


@pytest.fixture
def paused(place, caller, client, wait_until):
    """Waits until the API knows it, and takes it away afterwards."""
    pause = Pause(place, caller.tenant)
    wait_until(lambda: client.post("/emails/bulk", json=BULK).status_code == 403)
    yield pause
    pause.end()


def test_bulk_mail_is_refused_and_says_why(client, paused, queues):
    for path, body in (("/emails/bulk", BULK), ("/emails", MAIL | {"priority": "bulk"})):
        refused = client.post(path, json=body)
        assert refused.status_code == 403
        assert refused.json()["name"] == "validation_error"
        assert WHY in refused.json()["message"]
        assert "POST /v1/breaker/resume" in refused.json()["message"]


def test_other_mail_and_other_tenants_go_on(client, paused, server, new_caller):
    for priority in ("high", "normal"):
        assert client.post("/emails", json=MAIL | {"priority": priority}).status_code == 200
    with server.client(new_caller().token) as other:
        assert other.post("/emails/bulk", json=BULK).status_code == 202


def test_of_a_permissive_batch_only_the_bulk_mail_is_refused(client, paused):
    answer = client.post(
        "/emails/batch", json=[MAIL, MAIL | {"priority": "bulk"}], headers={"x-batch-validation": "permissive"}
    ).json()
    assert len(answer["data"]) == 1
    assert [one["index"] for one in answer["errors"]] == [1]
    assert WHY in answer["errors"][0]["message"]


def test_a_broadcast_is_not_sent(client, paused):
    segment = client.post("/segments", json={"name": "all"}).json()["id"]
    body = {"from": "a@a.test", "subject": "s", "text": "t", "segment_id": segment}
    draft = client.post("/broadcasts", json=body).json()["id"]
    assert client.post(f"/broadcasts/{draft}/send", json={}).status_code == 403
    assert client.post("/broadcasts", json=body | {"send": True}).status_code == 403
    assert client.get(f"/broadcasts/{draft}").json()["status"] == "draft"


def test_how_it_stands(client, paused, place, caller):
    place.sql(
        "INSERT INTO email_metrics (tenant, quarter, domain, delivered, bounced_permanent, bounced_transient) "
        "VALUES ($1, now() - interval '1 hour', 'a.test', 86, 12, 2), "
        "($1, now() - interval '25 hours', 'a.test', 0, 9, 0)",
        caller.tenant,
    )  # fmt: skip
    found = client.get("/breaker").json()
    assert {name: found[name] for name in ("state", "decided", "bounced", "complained", "rate", "window_hours")} == {
        "state": "paused", "decided": 100, "bounced": 14, "complained": 0, "rate": 14.0, "window_hours": 24,
    }  # fmt: skip
    assert [(one["override_id"], one["cause"], one["sample"]) for one in found["pauses"]] == [
        (str(paused.id), "bounces", WHY)
    ]


def test_a_tenant_that_nothing_was_ever_wrong_with_is_fine(client):
    found = client.get("/breaker").json()
    assert (found["state"], found["since"], found["rate"], found["pauses"]) == ("fine", None, 0.0, [])
    assert client.post("/breaker/resume").status_code == 422


def test_a_person_resumes_it(client, paused, queues, wait_until):
    assert client.post("/breaker/resume").json() == {"object": "breaker", "resumed": [str(paused.id)]}
    paused.end()  # as the tracker notes it
    wait_until(lambda: client.post("/emails/bulk", json=BULK).status_code == 202)
    for message in queues.follow(queues.topology.control_log_queue.name):
        body = message.body.encode() if isinstance(message.body, str) else bytes(message.body)
        entry = decode_control(body, message.headers)
        if isinstance(entry, OverrideEnd) and entry.id == paused.id:
            assert entry.by == "person:test"
            break


def test_the_command_line_shows_and_resumes(server, caller, paused):
    api = Api(server.url, caller.token)
    said = breaker.show_breaker(api, plain=True)
    assert said[0].startswith("paused: ")
    assert said[1].endswith(WHY)
    assert breaker.resume(api) == f"bulk mail goes on; ended {paused.id}"


def test_what_holds_it_is_shown_with_all_overrides(client, paused):
    (shown,) = [one for one in client.get("/shaping").json()["data"] if one["id"] == str(paused.id)]
    assert (shown["scope"], shown["lane"], shown["cause"]) == ("tenant", "bulk", "bounces")
