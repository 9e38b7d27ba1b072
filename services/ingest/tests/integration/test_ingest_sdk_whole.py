"""Every call of the official SDK, sync and async, that there is something for here: each answer as the SDK types it.

The calls are found in the SDK itself: one that is neither made here nor named below fails, so that a new release of the
SDK is looked at.
"""

import asyncio
import base64
import inspect
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import resend
from expanding import click, expand, record
from import_runs import OURS as OF_IMPORTS
from import_runs import csv_of
from sdk_shapes import check
from typing_extensions import is_typeddict

NOT_HERE = (
    "Automations", "Domains.Claims", "Emails.Receiving", "Emails.share", "Events", "Inbox", "OAuthGrants", "Usage",
)  # fmt: skip
"""Beginnings of names: what Mailwarren does not do."""
ASKS_NOBODY = "Webhooks.verify"
ELSEWHERE = {
    "Domains": "test_ingest_sdk_domains.py",
    "Webhooks.list_event_attempts": "test_ingest_webhooks.py",
    "Webhooks.replay_event": "test_ingest_webhooks.py",
}
"""Those that need a DNS, or a receiver that has answered."""

_EMAIL = {"scheduled_at", "held_at", "tags", "priority", "metadata", "expires_at", "on_unknown", "cancel_requested_at",
          "broadcast_id"}  # fmt: skip
_BROADCAST = {"template", "priority", "resend_of", "trouble"}
_SUPPRESSION = {"scope", "topic_id", "reason", "expires_at"}
_TOPIC = {"object", "visibility"}
OURS: dict[str, set[str]] = {
    "ApiKeys.list": {"data.permission", "data.domains", "data.prefix"},
    "Audiences.get": {"object"},
    "Broadcasts.create": {"object"},
    "Broadcasts.get": _BROADCAST,
    "Broadcasts.list": {f"data.{name}" for name in _BROADCAST},
    "Broadcasts.send": {"object"},
    "Broadcasts.update": {"object"},
    "Contacts.Imports.get": OF_IMPORTS,
    "Contacts.Imports.list": {f"data.{name}" for name in OF_IMPORTS},
    "Contacts.get": {"object"},
    "Contacts.list": {"data.object"},
    "Emails.get": {"object", "status", *_EMAIL},
    "Emails.list": {f"data.{name}" for name in _EMAIL},
    "Segments.get": {"object"},
    "Suppressions.get": _SUPPRESSION,
    "Suppressions.list": {f"data.{name}" for name in _SUPPRESSION},
    "Templates.get": {"mjml", "inline_css", "required", "version", "current_version_id", "has_unpublished_versions"},
    "Topics.create": {"object"},
    "Topics.get": _TOPIC,
    "Topics.list": {f"data.{name}" for name in _TOPIC},
    "Topics.update": {"object"},
    "Webhooks.get": {"disabled_reason"},
    "Webhooks.list": {"data.disabled_reason"},
}
"""Fields that the SDK's types do not have: additions, and what Resend's API documents beside them."""
NULLS = {"Emails.list": {"data.html", "data.text"}}
"""Lists of emails have no contents, as Resend's have none."""

KEPT = "SELECT count(*) AS number FROM api_logs WHERE tenant = $1"
Walk = Callable[..., typing.Awaitable[Any]]


def calls(kind: type, path: str) -> Iterator[tuple[Callable[..., Any], str]]:
    """The calls of a class of the SDK and of those in it, each as the function that it is, with its name."""
    for name in dir(kind):
        member = inspect.getattr_static(kind, name)
        if name.startswith("_") or name.endswith("_async"):
            continue
        if isinstance(member, classmethod):
            yield member.__func__, f"{path}.{name}"
        elif inspect.isclass(member) and not is_typeddict(member):
            yield from calls(member, f"{path}.{name}")


def all_calls() -> dict[Callable[..., Any], set[str]]:
    """Every call with all its names: some classes have two."""
    found: dict[Callable[..., Any], set[str]] = {}
    for name in resend.__all__:
        kind = getattr(resend, name)
        if inspect.isclass(kind) and not is_typeddict(kind):
            for function, path in calls(kind, name):
                found.setdefault(function, set()).add(path)
    return found


@pytest.fixture(scope="module")
def server(place, tmp_path_factory):
    from conftest import Server

    folder = tmp_path_factory.mktemp("whole")
    keys = folder / "keys"
    keys.write_bytes(base64.b64encode(bytes(32)))
    running = Server(
        place.settings(blob_url=folder.as_uri(), internal_token="internal-token-of-a-test", data_keys=keys)
    )
    yield running
    running.stop()


@pytest.mark.usefixtures("sdk")
@pytest.mark.filterwarnings("ignore:Audiences is deprecated")
@pytest.mark.parametrize("way", ["sync", "async"])
async def test_every_answer_is_as_the_sdk_types_it(way, place, caller, queues, workers, wait_until):
    made: set[str] = set()

    async def walk(name: str, *arguments: Any, **named: Any) -> Any:
        path, _, method = name.rpartition(".")
        kind = resend
        for part in path.split("."):
            kind = getattr(kind, part)
        call = getattr(kind, method if way == "sync" else f"{method}_async")
        answer = call(*arguments, **named)
        if way == "async":
            answer = await answer
        typed = typing.get_type_hints(call.__func__)["return"]
        check(answer, typed, ours=OURS.get(name, ()), nulls=NULLS.get(name, ()))
        made.add(name)
        return answer

    await keys_and_lists(walk)
    await people(walk, workers)
    await templates(walk)
    await emails(walk)
    await broadcasts(walk, place, caller, queues)
    await feedback(walk)
    await counts(walk, place, caller)
    await asyncio.to_thread(wait_until, lambda: place.sql(KEPT, caller.tenant)[0]["number"] > 0)
    await kept_calls(walk)
    left = [
        sorted(names)
        for names in all_calls().values()
        if not names & {*made, ASKS_NOBODY} and not any(one.startswith((*NOT_HERE, *ELSEWHERE)) for one in names)
    ]
    assert left == []


async def keys_and_lists(walk: Walk) -> None:
    key = await walk("ApiKeys.create", {"name": "CI"})
    await walk("ApiKeys.list")
    await walk("ApiKeys.update", {"id": key["id"], "name": "deploy"})
    await walk("ApiKeys.remove", key["id"])
    for resource in ("Audiences", "Segments"):
        one = await walk(f"{resource}.create", {"name": "Customers"})
        await walk(f"{resource}.get", one["id"])
        await walk(f"{resource}.list")
        if resource == "Segments":
            await walk("Segments.update", one["id"], {"name": "Clients"})
        await walk(f"{resource}.remove", one["id"])
    news = await walk("Topics.create", {"name": "News", "default_subscription": "opt_in", "description": "Monthly"})
    await walk("Topics.get", news["id"])
    await walk("Topics.list")
    await walk("Topics.update", news["id"], {"name": "Letters"})
    await walk("Topics.remove", news["id"])
    plan = await walk("ContactProperties.create", {"key": "plan", "type": "string", "fallback_value": "free"})
    await walk("ContactProperties.get", plan["id"])
    await walk("ContactProperties.list")
    await walk("ContactProperties.update", {"id": plan["id"], "fallback_value": "none"})
    await walk("ContactProperties.remove", plan["id"])


async def people(walk: Walk, workers: Any) -> None:
    for key, kind in (("plan", "string"), ("seats", "number"), ("vip", "boolean")):
        await walk("ContactProperties.create", {"key": key, "type": kind})
    topic = (await walk("Topics.create", {"name": "News", "default_subscription": "opt_in"}))["id"]
    segment = (await walk("Segments.create", {"name": "All"}))["id"]
    ada = {"email": "ada@d1.test", "first_name": "Ada", "properties": {"plan": "gold", "seats": 2.5, "vip": True}}
    ident = (await walk("Contacts.create", ada))["id"]
    await walk("Contacts.get", email="ada@d1.test")
    await walk("Contacts.update", {"id": ident, "first_name": "Augusta"})
    await walk("Contacts.list")
    await walk("Contacts.Segments.add", {"contact_id": ident, "segment_id": segment})
    await walk("Contacts.Segments.list", {"contact_id": ident})
    await walk("Contacts.Segments.remove", {"contact_id": ident, "segment_id": segment})
    await walk("Contacts.Topics.update", {"id": ident, "topics": [{"id": topic, "subscription": "opt_out"}]})
    await walk("Contacts.Topics.list", contact_id=ident)
    await walk("Contacts.remove", id=ident)
    # Not Ada: she left the topic.
    file = csv_of(("email", "plan"), ("bob@d1.test", "gold"), ("nobody", ""))
    loaded = await walk("Contacts.Imports.create", {"file": file, "segments": [{"id": segment}]})
    await walk("Contacts.Imports.get", loaded["id"])
    assert workers.settle() == ["2 rows, 1 failed"]
    await walk("Contacts.Imports.get", loaded["id"])
    await walk("Contacts.Imports.list")


async def templates(walk: Walk) -> None:
    order = {
        "name": "order", "alias": "order", "from": "Shop <shop@sender.test>", "subject": "Your {{{PRODUCT}}}",
        "reply_to": "desk@sender.test", "html": "<p>{{{PRODUCT}}}</p>", "text": "{{{PRODUCT}}}",
        "variables": [{"key": "PRODUCT", "type": "string", "fallback_value": "item"}],
    }  # fmt: skip
    ident = (await walk("Templates.create", order))["id"]
    await walk("Templates.publish", ident)
    await walk("Templates.get", "order")
    await walk("Templates.list")
    await walk("Templates.update", {"id": ident, "subject": "Thanks"})
    copy = await walk("Templates.duplicate", ident)
    await walk("Templates.remove", copy["id"])


async def emails(walk: Walk) -> None:
    mail = {"from": "Ada <ada@sender.test>", "to": "bob@d1.test", "subject": "Hello", "html": "<p>x</p>", "text": "x"}
    await walk("Emails.send", mail)
    await walk("Batch.send", [mail, mail | {"to": ["eve@d1.test"]}])
    file = {"filename": "a.txt", "content": base64.b64encode(b"octets").decode()}
    sent = (await walk("Emails.send", mail | {"scheduled_at": "in 1 hour", "attachments": [file]}))["id"]
    await walk("Emails.get", sent)
    await walk("Emails.list")
    await walk("Emails.update", {"id": sent, "scheduled_at": "in 2 hours"})
    [attached] = (await walk("Emails.Attachments.list", sent))["data"]
    await walk("Emails.Attachments.get", sent, attached["id"])
    await walk("Emails.cancel", sent)


async def broadcasts(walk: Walk, place: Any, caller: Any, queues: Any) -> None:
    segment, topic = [(await walk(f"{name}.list"))["data"][0]["id"] for name in ("Segments", "Topics")]
    written = {
        "name": "Spring", "segment_id": segment, "from": "Ada <ada@sender.test>", "subject": "Hi", "text": "Hi",
        "html": "<p>{{{contact.first_name|there}}}</p>", "reply_to": "desk@sender.test", "preview_text": "Now",
        "topic_id": topic,
    }  # fmt: skip
    ident = (await walk("Broadcasts.create", written))["id"]
    await walk("Broadcasts.update", {"broadcast_id": ident, "subject": "Hello"})
    await walk("Broadcasts.send", {"broadcast_id": ident})
    queues.empty()
    assert await asyncio.to_thread(expand, place, ident) == "1 recipients, the last ones"
    parcels = queues.parcels()
    await asyncio.to_thread(record, place, caller.tenant, parcels)
    await asyncio.to_thread(click, place, caller.tenant, parcels[0].deliveries[0], "https://x.test/")
    await walk("Broadcasts.get", ident)
    await walk("Broadcasts.list")
    await walk("Broadcasts.recipients", ident, {"type": "delivered"})
    [reader] = (await walk("Broadcasts.recipients", ident, {"type": "clicked"}))["data"]
    assert reader["clicked_links"]
    await walk("Broadcasts.clicked_links", ident)
    copy = await walk("Broadcasts.duplicate", ident)
    await walk("Broadcasts.remove", copy["id"])
    later = await walk("Broadcasts.create", written | {"send": True, "scheduled_at": "in 1 hour"})
    await walk("Broadcasts.cancel", later["id"])


async def feedback(walk: Walk) -> None:
    gone = await walk("Suppressions.add", {"email": "gone@x.test"})
    await walk("Suppressions.get", gone["id"])
    await walk("Suppressions.list")
    await walk("Suppressions.remove", "gone@x.test")
    await walk("Suppressions.Batch.add", {"emails": ["a@x.test", "b@x.test"]})
    await walk("Suppressions.Batch.remove", {"emails": ["a@x.test", "b@x.test"]})
    hook = {"endpoint": "https://hooks.example.test/", "events": ["contact.created"]}
    ident = (await walk("Webhooks.create", hook))["id"]
    await walk("Webhooks.get", ident)
    await walk("Webhooks.list")
    await walk("Webhooks.update", {"webhook_id": ident, "events": ["contact.created", "contact.updated"]})
    await walk("Contacts.create", {"email": "new@x.test"})
    [event] = (await walk("Webhooks.list_events", ident))["data"]
    await walk("Webhooks.get_event", ident, event["id"])
    await walk("Webhooks.rotate_signing_secret", ident)
    await walk("Webhooks.remove", ident)


async def counts(walk: Walk, place: Any, caller: Any) -> None:
    # As the tracker counts.
    counted = "INSERT INTO email_metrics (tenant, quarter, domain, sent) VALUES ($1, now(), 'sender.test', 3)"
    await asyncio.to_thread(place.sql, counted, caller.tenant)
    everything = await walk("Emails.metrics")
    assert (everything["totals"]["sent"], "data" in everything) == (3, False)
    by_day = await walk("Emails.metrics", {"metrics": ["sent"], "dimensions": ["period", "domain"]})
    assert [row["domain_name"] for row in by_day["data"]] == ["sender.test"]


async def kept_calls(walk: Walk) -> None:
    listed = (await walk("Logs.list"))["data"]
    found = await walk("Logs.get", listed[0]["id"])
    assert found["endpoint"] == listed[0]["endpoint"]


def test_what_is_walked_elsewhere_is_called_there():
    here = Path(__file__).parent
    for names in all_calls().values():
        for name in names - {ASKS_NOBODY}:
            [module] = [file for begin, file in ELSEWHERE.items() if name.startswith(begin)] or [None]
            if module is not None and not name.startswith(NOT_HERE):
                method = name.rpartition(".")[2]
                source = (here / module).read_text()
                assert f".{method}(" in source or f".{method}_async(" in source, name
