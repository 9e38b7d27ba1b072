"""Imports tell the senders who has left lists, and the webhooks what became of contacts if they are asked to."""

from typing import Any
from uuid import UUID

import pytest
import resend
from import_runs import Workers, csv_of
from prometheus_client import REGISTRY

from mailwarren.contracts.codec import decode_control
from mailwarren.contracts.events import Suppress
from mailwarren.contracts.unsubscribe import LISTS
from mailwarren.ingest.adapters.import_work import ImportWork
from mailwarren.ingest.ops import importing, telling

pytestmark = pytest.mark.usefixtures("sdk", "workers")

Imports, Contacts = resend.Contacts.Imports, resend.Contacts
LEAVING = csv_of(
    ("email", "unsubscribed"),
    ("back@x.test", "false"),
    ("gone@x.test", "true"),
    ("new@x.test", "yes"),
    ("nobody", "true"),
    ("stays@x.test", "no"),
    ("silent@x.test", ""),
)


class Died(BaseException):
    """A worker that was killed."""


def said(queues: Any, caller: Any, count: int) -> list[tuple[UUID | None, bool, list[str]]]:
    """The first entries of the log about the tenant: of which list, whether they are back, and who."""
    found: list[tuple[UUID | None, bool, list[str]]] = []
    for message in queues.follow(queues.topology.control_log_queue.name):
        body = message.body.encode() if isinstance(message.body, str) else bytes(message.body)
        entry = decode_control(body, message.headers)
        if isinstance(entry, Suppress) and entry.tenant == caller.tenant:
            found.append((entry.topic, entry.removed, sorted([entry.address, *entry.more])))
        if len(found) == count:
            break
    return found


def test_senders_hear_who_has_left_and_who_is_back_and_nothing_else(workers, queues, caller):
    news = resend.Topics.create({"name": "News", "default_subscription": "opt_in"})["id"]
    for name in ("gone", "back"):
        Contacts.create({"email": f"{name}@x.test", "unsubscribed": True})
    choice = {"id": news, "subscription": "opt_out"}
    Imports.create({"file": LEAVING, "on_conflict": "upsert", "topics": [choice]})
    assert workers.settle() == ["6 rows, 1 failed"]
    everybody = ["back@x.test", "gone@x.test", "new@x.test", "silent@x.test", "stays@x.test"]
    by_import = said(queues, caller, 5)[2:]
    assert sorted(by_import, key=repr) == sorted(
        [(LISTS, False, ["new@x.test"]), (LISTS, True, ["back@x.test"]), (UUID(news), False, everybody)], key=repr
    )
    # The same once more is no news; a choice of the other kind is.
    Imports.create({"file": LEAVING, "on_conflict": "upsert", "topics": [choice]})
    Imports.create({"file": csv_of(("email",), ("new@x.test",)), "topics": [{**choice, "subscription": "opt_in"}]})
    again = csv_of(("email",), ("silent@x.test",))
    Imports.create({"file": again, "on_conflict": "upsert", "topics": [{**choice, "subscription": "opt_in"}]})
    workers.settle()
    assert said(queues, caller, 6)[5] == (UUID(news), True, ["silent@x.test"])


def test_without_the_broker_an_import_goes_on_and_counts_whom_it_did_not_tell(monkeypatch, place):
    def untold() -> float:
        return REGISTRY.get_sample_value("mailwarren_ingest_suppressions_untold_total") or 0.0

    monkeypatch.setattr(telling, "CONNECT_WITHIN", 0.1)
    monkeypatch.setattr(importing, "BATCH", 2)
    Imports.create({"file": LEAVING})
    before = untold()
    assert Workers(place, amqp_url="amqp://guest:guest@127.0.0.1:1/%2F").settle() == ["6 rows, 1 failed"]
    assert untold() - before == 2
    assert Contacts.get(email="gone@x.test")["unsubscribed"]


def events_of(webhook: str) -> list[tuple[str, str, list[str]]]:
    found = resend.Webhooks.list_events(webhook, {"limit": 100})["data"]
    payloads = [resend.Webhooks.get_event(webhook, event["id"])["payload"] for event in found]
    return sorted((one["type"], one["data"]["email"], one["data"]["segment_ids"]) for one in payloads)


def test_webhooks_hear_of_contacts_only_when_they_are_asked_to_once_for_each(monkeypatch, workers, client):
    monkeypatch.setattr(importing, "BATCH", 2)
    body = {"endpoint": "https://hooks.example.test/", "events": ["contact.created", "contact.updated"]}
    segment = resend.Segments.create({"name": "All"})["id"]
    Contacts.create({"email": "p2@x.test"})
    webhook = resend.Webhooks.create(body)["id"]
    file = csv_of(("email",), *((f"p{n}@x.test",) for n in range(5)))
    Imports.create({"file": file})
    workers.settle()
    assert events_of(webhook) == []

    plain, batches = ImportWork.write, 0

    async def write(self: ImportWork, *arguments: Any) -> Any:
        nonlocal batches
        batches += 1
        found = await plain(self, *arguments)
        if batches == 1:
            raise Died
        return found

    monkeypatch.setattr(ImportWork, "write", write)
    more = csv_of(("email",), *((f"p{n}@x.test",) for n in range(3, 7)))
    form = {"on_conflict": "upsert", "webhooks": "true", "segments": f'[{{"id": "{segment}"}}]'}
    client.post("/contacts/imports", files={"file": ("people.csv", more)}, data=form).raise_for_status()
    [order] = workers.orders()
    with pytest.raises(Died):
        workers.carry_out(order)
    assert workers.carry_out(order) == "4 rows, 0 failed"
    assert events_of(webhook) == [
        ("contact.created", "p5@x.test", [segment]),
        ("contact.created", "p6@x.test", [segment]),
        ("contact.updated", "p3@x.test", [segment]),
        ("contact.updated", "p4@x.test", [segment]),
    ]
