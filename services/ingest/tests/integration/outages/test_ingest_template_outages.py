"""Mail with a template goes on without Postgres where the template was sent before."""

import time

import pytest

from mailwarren.ingest.adapters import templates

TEMPLATE = {"name": "t", "alias": "t", "from": "ada@sender.test", "subject": "S", "html": "<p>"}
WANTED = {"to": "bob@example.test", "template": {"id": "t"}}


@pytest.fixture
def away(start, wire, place, caller):
    """A client of an API that has sent a template once, and the wire to its database."""
    line = wire(place.database_url)
    with start(database_url=line.url).client(caller.token) as client:
        client.post("/templates", json=TEMPLATE)
        assert client.post("/templates/t/publish").status_code == 200
        assert client.post("/emails", json=WANTED).status_code == 200
        yield client, line


def test_while_the_database_is_away(away, queues, monkeypatch):
    client, line = away
    monkeypatch.setattr(templates, "FRESH", 0.0)
    line.cut()
    for path, body in (("/emails", WANTED), ("/emails/batch", [WANTED])):
        assert client.post(path, json=body).status_code == 200
    bulk = {"template": {"id": "t"}, "recipients": [{"to": "a@example.test"}]}
    assert client.post("/emails/bulk", json=bulk).status_code == 202
    assert len(queues.parcels()) == 3
    other = WANTED | {"template": {"id": "other"}}
    for path, body, headers in (
        ("/emails", other, {}),
        ("/emails/batch", [WANTED, other], {"x-batch-validation": "permissive"}),
        ("/emails/bulk", bulk | {"template": {"id": "other"}}, {}),
    ):
        answer = client.post(path, json=body, headers=headers)
        assert (answer.status_code, "template cannot be read" in answer.json()["message"]) == (503, True), path
        assert answer.headers["retry-after"]
    assert queues.parcels() == []


def test_a_database_that_does_not_answer_costs_mail_a_moment_only(away, queues):
    client, line = away
    line.swallow = True
    end = time.monotonic() + templates.FRESH + 1
    slowest = 0.0
    while (begin := time.monotonic()) < end:
        assert client.post("/emails", json=WANTED).status_code == 200
        slowest = max(slowest, time.monotonic() - begin)
    assert slowest < 3
    assert queues.parcels()
