"""Broadcasts through the official SDK: every answer is as its types have it, and every refusal says why."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import resend
from expanding import click, expand, fill, record, schedule
from resend.broadcasts._broadcast import Broadcast
from sdk_shapes import check, refused

from mailwarren.contracts.codec import decode_control, decode_order
from mailwarren.contracts.events import CancelBroadcast
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.order import Work
from mailwarren.contracts.template import render
from mailwarren.contracts.tracking import Flag
from mailwarren.contracts.unsubscribe import LISTS
from mailwarren.ingest.cli import main

pytestmark = pytest.mark.usefixtures("sdk")

OURS = {"template", "priority", "resend_of", "trouble"}
NULLS = {"scheduled_at", "sent_at"}
IN_LIST = {f"data.{name}" for name in OURS}, {f"data.{name}" for name in NULLS}


@pytest.fixture
def segment(place, caller):
    """With three contacts."""
    found, _ = fill(place, caller.tenant, 3)
    return str(found)


@pytest.fixture
def written(segment):
    """What every test sends."""
    return {
        "segment_id": segment, "from": "Ada <ada@sender.test>", "subject": "Hi {{{contact.first_name|there}}}",
        "html": "<p>{{{contact.email}}}</p>",
    }  # fmt: skip


@pytest.fixture
def orders(place, queues):
    """The orders for a broadcast that wait for a worker."""

    def found(broadcast):
        messages = queues.take(place.topology.ops_queue.name)
        decoded = [decode_order(_bytes(message.body), message.headers) for message in messages]
        return [order for order in decoded if order.subject == UUID(broadcast)]

    return found


def _bytes(body):
    return body.encode() if isinstance(body, str) else bytes(body)


def state(client, broadcast):
    return client.get(f"/broadcasts/{broadcast}").json()["status"]


def test_written_read_changed_copied_listed_and_deleted(written, segment):
    made = resend.Broadcasts.create(written | {"name": "Spring", "reply_to": "desk@sender.test", "preview_text": "Now"})
    check(made, resend.Broadcasts.CreateResponse, ours={"object"})
    shown = resend.Broadcasts.get(made["id"])
    check(shown, Broadcast, ours=OURS, nulls=NULLS)
    assert (shown["status"], shown["name"], shown["segment_id"], shown["audience_id"], shown["topic_id"]) == (
        "draft", "Spring", segment, segment, None,
    )  # fmt: skip
    assert (shown["reply_to"], shown["preview_text"], shown["html"], shown["text"]) == (
        ["desk@sender.test"], "Now", written["html"], None,
    )  # fmt: skip
    changed = resend.Broadcasts.update({"broadcast_id": made["id"], "subject": "Bye", "text": "t", "name": "Summer"})
    check(changed, resend.Broadcasts.UpdateResponse, ours={"object"})
    copied = resend.Broadcasts.duplicate(made["id"])
    check(copied, resend.Broadcasts.DuplicateResponse)
    copy = resend.Broadcasts.get(copied["id"])
    assert (copy["name"], copy["subject"], copy["text"], copy["status"]) == ("Summer (copy)", "Bye", "t", "draft")
    listed = resend.Broadcasts.list({"limit": 1})
    check(listed, resend.Broadcasts.ListResponse, ours=IN_LIST[0], nulls=IN_LIST[1])
    assert (listed["data"][0]["id"], listed["has_more"]) == (copied["id"], True)
    rest = resend.Broadcasts.list({"limit": 1, "after": copied["id"]})
    assert [one["id"] for one in rest["data"]] == [made["id"]]
    gone = resend.Broadcasts.remove(made["id"])
    check(gone, resend.Broadcasts.RemoveResponse)
    assert refused(resend.Broadcasts.get, made["id"])[0] == 404
    assert len(resend.Broadcasts.list()["data"]) == 1


async def test_the_same_through_the_async_sdk(written):
    made = await resend.Broadcasts.create_async(written)
    check(await resend.Broadcasts.get_async(made["id"]), Broadcast, ours=OURS, nulls=NULLS)
    await resend.Broadcasts.update_async({"broadcast_id": made["id"], "name": "b"})
    copied = await resend.Broadcasts.duplicate_async(made["id"])
    listed = await resend.Broadcasts.list_async()
    check(listed, resend.Broadcasts.ListResponse, ours=IN_LIST[0], nulls=IN_LIST[1])
    assert [one["name"] for one in listed["data"]] == ["b (copy)", "b"]
    sent = await resend.Broadcasts.send_async({"broadcast_id": made["id"], "scheduled_at": "in 1 hour"})
    check(sent, resend.Broadcasts.SendResponse, ours={"object"})
    check(await resend.Broadcasts.cancel_async(made["id"]), resend.Broadcasts.CancelResponse)
    assert (await resend.Broadcasts.get_async(made["id"]))["status"] == "canceled"
    check(await resend.Broadcasts.remove_async(copied["id"]), resend.Broadcasts.RemoveResponse)


def test_sent_to_everybody_who_may_be_written_to_and_counted(written, segment, place, caller, client, queues, orders):
    topic = resend.Topics.create({"name": "News", "default_subscription": "opt_in"})["id"]
    resend.ContactProperties.create({"key": "plan", "type": "string", "fallback_value": "free"})
    people = {
        name: resend.Contacts.create({"email": f"{name}@d1.test", "first_name": name.title(), **more})["id"]
        for name, more in {
            "ann": {"properties": {"plan": "gold"}}, "out": {"unsubscribed": True},
            "off": {"topics": [{"id": topic, "subscription": "opt_out"}]}, "bad": {},
        }.items()
    }  # fmt: skip
    for person in people.values():
        resend.Contacts.Segments.add({"contact_id": person, "segment_id": segment})
    place.sql(
        "INSERT INTO suppressions (tenant, address, reason, origin, created_at) "
        "VALUES ($1, 'bad@d1.test', 'invalid_recipient', 'bounce', now())", caller.tenant,
    )  # fmt: skip
    text = "{{{contact.plan}}} {{{FIRST_NAME|you}}}"
    made = resend.Broadcasts.create(written | {"text": text, "topic_id": topic, "send": True})["id"]
    [order] = orders(made)
    assert (order.work, state(client, made)) == (Work.BROADCAST, "queued")
    assert expand(place, made) == "4 recipients, the last ones"
    shown = resend.Broadcasts.get(made)
    check(shown, Broadcast, ours=OURS)
    assert shown["status"] == "sent"
    parcels = queues.parcels()
    deliveries = {delivery.to: delivery for parcel in parcels for delivery in parcel.deliveries}
    assert len(deliveries) == 4
    ann = deliveries["ann@d1.test"]
    content = parcels[0].content
    assert [render(one, ann.variables, html=False) for one in (content.subject, content.text)] == [
        "Hi Ann", "gold Ann",
    ]  # fmt: skip
    assert "first_name" in ann.variables["contact"]
    assert "last_name" not in ann.variables["contact"]
    other = next(one for address, one in deliveries.items() if address.startswith("c"))
    assert render(content.text, other.variables, html=False).startswith("free ")
    assert {(parcel.settle, parcel.lane, str(parcel.broadcast), str(parcel.request_id)) for parcel in parcels} == {
        (True, "bulk", made, made)
    }
    record(place, caller.tenant, parcels, ["delivered", "bounced", "failed", "accepted"])
    stats = client.get(f"/broadcasts/{made}/stats").json()
    assert stats["audience"] == {
        "members": 7, "unsubscribed": 1, "opted_out": 1, "suppressed": 1, "recipients": 4,
    }  # fmt: skip
    assert {name: stats[name] for name in ("published", "progress", "recipients", "queued", "delivered")} == {
        "published": 4, "progress": 1.0, "recipients": 4, "queued": 1, "delivered": 1,
    }  # fmt: skip
    assert (stats["bounced"], stats["failed"], sum(stats["states"].values())) == (1, 1, 4)


def test_recipients_by_what_became_of_their_mail(written, place, caller, client, queues):
    made = resend.Broadcasts.create(written | {"send": True})["id"]
    expand(place, made)
    record(place, caller.tenant, queues.parcels(), ["delivered", "bounced", "delivered"])
    one = resend.Broadcasts.recipients(made, {"type": "delivered", "limit": 1})
    check(one, resend.Broadcasts.RecipientsResponse)
    two = resend.Broadcasts.recipients(made, {"type": "delivered", "limit": 1, "after": one["data"][0]["id"]})
    assert (one["has_more"], two["has_more"]) == (True, False)
    assert one["data"][0]["email"] != two["data"][0]["email"]
    back = resend.Broadcasts.recipients(made, {"type": "delivered", "before": two["data"][0]["id"]})
    assert back["data"] == one["data"]
    contacts = {contact["id"] for contact in resend.Contacts.list()["data"]}
    assert one["data"][0]["contact_id"] in contacts
    bounced = resend.Broadcasts.recipients(made, {"type": "bounced", "bounce_type": "permanent"})
    check(bounced, resend.Broadcasts.RecipientsResponse)
    assert [person["bounce_type"] for person in bounced["data"]] == ["permanent"]
    address = bounced["data"][0]["email"]
    assert resend.Broadcasts.recipients(made, {"type": "sent", "email": address[3:9].upper()})["data"]
    assert resend.Broadcasts.recipients(made, {"type": "bounced", "bounce_type": "transient"})["data"] == []
    assert len(resend.Broadcasts.recipients(made, {"type": "sent"})["data"]) == 3
    for wrong in ({"type": "complained"}, {"type": "nothing"}, {"type": "sent", "bounce_type": "permanent"}):
        assert refused(resend.Broadcasts.recipients, made, wrong)[0] == 422
    listed = client.get("/emails", params={"broadcast_id": made, "limit": 2}).json()
    assert ([one["broadcast_id"] for one in listed["data"]], listed["has_more"]) == ([made, made], True)
    last = client.get("/emails", params={"broadcast_id": made, "after": listed["data"][-1]["id"]}).json()
    assert len({one["id"] for one in (*listed["data"], *last["data"])}) == 3
    assert resend.Emails.list()["data"][0]["broadcast_id"] == made


def test_a_template_is_read_when_the_broadcast_is_sent(written, segment, place, queues):
    html = "<b>{{{contact.email}}} {{{CODE}}}</b>"
    ident = resend.Templates.create({"name": "t", "alias": "spring", "subject": "S {{{CODE}}}", "html": html})["id"]
    body = {"segment_id": segment, "from": "a@sender.test", "template": {"id": "spring", "variables": {"CODE": "X1"}}}
    made = resend.Broadcasts.create(body)["id"]
    assert "no published template" in refused(resend.Broadcasts.send, {"broadcast_id": made})[1]
    resend.Templates.publish(ident)
    resend.Broadcasts.send({"broadcast_id": made})
    resend.Templates.update({"id": ident, "html": "<i>later</i>"})
    resend.Templates.publish(ident)
    expand(place, made)
    content = queues.parcels()[0].content
    assert (content.subject, "<b>" in content.html) == ("S {{{CODE}}}", True)
    assert resend.Broadcasts.get(made)["template"]["id"] == "spring"


def test_a_preview_and_a_test_send_are_the_mail_to_a_contact(written, client, queues):
    resend.Contacts.create({"email": "eve@d1.test", "first_name": "Eve"})
    made = resend.Broadcasts.create(written)["id"]
    shown = client.post(f"/broadcasts/{made}/preview", json={"contact": "eve@d1.test"}).json()
    assert (shown["subject"], shown["html"], shown["text"]) == ("Hi Eve", "<p>eve@d1.test</p>", None)
    assert client.post(f"/broadcasts/{made}/preview").json()["subject"] == "Hi there"
    to = ["me@d1.test", "you@d2.test"]
    tested = client.post(f"/broadcasts/{made}/test", json={"to": to, "contact": "eve@d1.test"})
    parcels = queues.parcels()
    deliveries = [delivery for parcel in parcels for delivery in parcel.deliveries]
    assert {str(one.email_id) for one in deliveries} == set(tested.json()["emails"])
    assert {one.to for one in deliveries} == set(to)
    assert {render(parcels[0].content.html, one.variables, html=True) for one in deliveries} == {"<p>eve@d1.test</p>"}
    assert {render(parcels[0].content.subject, one.variables, html=False) for one in deliveries} == {"Hi Eve"}
    assert {parcel.broadcast for parcel in parcels} == {None}
    assert state(client, made) == "draft"
    unknown = {"to": "x@d1.test", "contact": str(new_id())}
    assert client.post(f"/broadcasts/{made}/test", json=unknown).status_code == 422


def test_scheduled_broadcasts_start_at_their_time_or_are_held(written, place, client, orders):
    due, late = (resend.Broadcasts.create(written | {"send": True, "scheduled_at": "in 1 hour"})["id"] for _ in "ab")
    at = datetime.fromisoformat(resend.Broadcasts.get(due)["scheduled_at"])
    assert timedelta(minutes=59) < at - datetime.now(UTC) <= timedelta(hours=1)
    schedule(place)
    assert orders(due) == []
    move = "UPDATE broadcasts SET due_at = now() - $2::interval, order_at = now() WHERE id = $1"
    place.sql(move, UUID(due), timedelta(minutes=1))
    place.sql(move, UUID(late), timedelta(hours=2))
    schedule(place)
    assert [order.work for order in orders(due)] == [Work.BROADCAST]
    assert (state(client, due), state(client, late)) == ("queued", "held")
    schedule(place)
    assert orders(due) == []
    assert client.post(f"/broadcasts/{late}/resume").status_code == 200
    schedule(place)
    assert len(orders(late)) == 1


def test_a_cancel_reaches_every_sender_and_nothing_more_is_published(written, place, client, queues):
    made = resend.Broadcasts.create(written | {"send": True})["id"]
    expand(place, made)
    record_open = queues.parcels()
    tenant = record_open[0].tenant
    record(place, tenant, record_open, ["accepted"])
    resend.Broadcasts.cancel(made)
    entries = queues.follow(place.topology.control_log_queue.name)
    for message in entries:
        entry = decode_control(_bytes(message.body), message.headers)
        if isinstance(entry, CancelBroadcast) and entry.broadcast == UUID(made):
            break
    assert (entry.tenant, state(client, made)) == (tenant, "canceled")
    assert expand(place, made) is None
    assert "it is canceled" in refused(resend.Broadcasts.cancel, made)[1]
    unsent = resend.Broadcasts.create(written | {"send": True, "scheduled_at": "in 1 hour"})["id"]
    resend.Broadcasts.cancel(unsent)
    assert place.sql("SELECT told_at FROM broadcasts WHERE id = $1", UUID(unsent))[0]["told_at"] is not None


def test_the_scheduler_tells_of_a_cancel_that_the_api_could_not_tell(written, place, queues):
    made = resend.Broadcasts.create(written | {"send": True})["id"]
    place.sql(
        "UPDATE broadcasts SET state = 'canceled', ended_at = now(), started_at = now() WHERE id = $1", UUID(made)
    )
    schedule(place)
    for message in queues.follow(place.topology.control_log_queue.name):
        entry = decode_control(_bytes(message.body), message.headers)
        if isinstance(entry, CancelBroadcast) and entry.broadcast == UUID(made):
            break
    assert place.sql("SELECT told_at FROM broadcasts WHERE id = $1", UUID(made))[0]["told_at"] is not None


def test_those_whose_mail_failed_get_another(written, place, caller, client, queues):
    made = resend.Broadcasts.create(written | {"send": True})["id"]
    expand(place, made)
    first = queues.parcels()
    record(place, caller.tenant, first, ["delivered", "failed", "bounced"])
    answer = client.post(f"/broadcasts/{made}/resend")
    assert answer.status_code == 201
    again = answer.json()["id"]
    assert expand(place, again) == "1 recipients, the last ones"
    [parcel] = queues.parcels()
    failed = place.sql("SELECT address FROM deliveries WHERE broadcast = $1 AND state = 'failed'", UUID(made))
    assert [delivery.to for delivery in parcel.deliveries] == [failed[0]["address"]]
    assert not {one.id for one in parcel.deliveries} & {one.id for p in first for one in p.deliveries}
    assert resend.Broadcasts.get(again)["resend_of"] == made
    refusal = client.post(f"/broadcasts/{made}/resend")
    assert (refusal.status_code, again in refusal.json()["message"]) == (422, True)
    record(place, caller.tenant, [parcel], ["accepted"])
    assert "have no end" in client.post(f"/broadcasts/{again}/resend").json()["message"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"segment_id": str(new_id())}, "there is no segment"),
        ({"segment_id": "x"}, "Invalid `segment_id` field"),
        ({"topic_id": str(new_id())}, "there is no topic"),
        ({"nonsense": 1}, "Unknown `nonsense` field"),
        ({"send": True, "html": "{{{contact.nick}}}"}, "`contact.nick`"),
        ({"send": True, "scheduled_at": "yesterday"}, "`scheduled_at`"),
        ({"send": True, "html": ""}, "Missing `html` or `text`"),
    ],
)
def test_refusals_name_the_field_and_make_nothing(written, change, words):
    code, message = refused(resend.Broadcasts.create, written | change)
    assert (code, words in message) == (422, True), message
    assert resend.Broadcasts.list()["data"] == []


def test_what_is_on_its_way_is_not_changed_sent_again_or_deleted(written, client):
    made = resend.Broadcasts.create(written | {"send": True})["id"]
    assert "it is queued" in refused(resend.Broadcasts.update, {"broadcast_id": made, "name": "x"})[1]
    assert "it is queued" in refused(resend.Broadcasts.send, {"broadcast_id": made})[1]
    assert "it is queued" in refused(resend.Broadcasts.remove, made)[1]
    assert "it is queued" in client.post(f"/broadcasts/{made}/resume").json()["message"]
    assert client.post(f"/broadcasts/{made}/pause").status_code == 200
    assert state(client, made) == "paused"
    assert client.post(f"/broadcasts/{made}/resume").status_code == 200
    assert state(client, made) == "queued"
    assert "it is queued" in client.post(f"/broadcasts/{made}/resend").json()["message"]


def test_a_key_for_one_domain_sends_broadcasts_from_it_only(written, new_caller, caller, server):
    limited = new_caller(domains=["other.test"], tenant=caller.tenant)
    with server.client(limited.token) as client:
        answer = client.post("/broadcasts", json=written | {"send": True})
        assert (answer.status_code, client.get("/broadcasts").json()["data"]) == (403, [])


def test_the_command_line_sends_pauses_resumes_counts_and_cancels(written, server, caller, monkeypatch, capsys):
    monkeypatch.setenv("MAILWARREN_API_URL", server.url)
    monkeypatch.setenv("MAILWARREN_API_KEY", caller.token)

    def run(*arguments):
        status = main(["broadcasts", *arguments])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    made = resend.Broadcasts.create(written)["id"]
    assert [run(verb, made)[0] for verb in ("send", "pause", "resume")] == [0, 0, 0]
    assert '"status": "queued"' in run("list")[1]
    assert '"published": 0' in run("stats", made)[1]
    assert run("test", made, "--to", "me@d1.test", "--contact", "nobody@d1.test") == (
        1, "mailwarren: 422 validation_error: Invalid `contact` field: there is no contact nobody@d1.test.\n",
    )  # fmt: skip
    assert run("cancel", made)[0] == 0
    assert "cannot be resumed: it is canceled" in run("resume", made)[1]
    later = resend.Broadcasts.create(written)["id"]
    assert run("send", later, "--at", "in 2 hours")[0] == 0
    assert '"status": "scheduled"' in run("show", later)[1]


def test_who_opened_and_what_was_clicked(written, place, caller, client, queues):
    made = resend.Broadcasts.create(written | {"send": True})["id"]
    expand(place, made)
    parcels = queues.parcels()
    record(place, caller.tenant, parcels)
    one, two, _ = (delivery for parcel in parcels for delivery in parcel.deliveries)
    place.sql("UPDATE deliveries SET opens = 2, opened_at = now() WHERE id = $1", one.id)
    clicks = [(one, "a", None), (one, "a", None), (two, "a", Flag.PROXY), (two, "a", Flag.BOT), (one, "b", None)]
    for delivery, path, flag in [*clicks, (one, "c", None), (two, "d", Flag.PREFETCH)]:
        click(place, caller.tenant, delivery, f"https://x.test/{path}", flag)

    def who(kind):
        found = resend.Broadcasts.recipients(made, {"type": kind})
        check(found, resend.Broadcasts.RecipientsResponse)
        return {person["email"]: person for person in found["data"]}

    assert {address: person["count"] for address, person in who("opened").items()} == {one.to: 2}
    assert "clicked_links" not in who("opened")[one.to]
    assert {
        address: (person["count"], [(link["url"][-1], link["clicks"]) for link in person["clicked_links"]])
        for address, person in who("clicked").items()
    } == {one.to: (4, [("a", 2), ("b", 1), ("c", 1)]), two.to: (1, [("a", 1)])}
    links = resend.Broadcasts.clicked_links(made)
    check(links, resend.Broadcasts.ListClickedLinksResponse)
    shown = [(link["url"][-1], link["clicks"], link["unique_clicks"]) for link in links["data"]]
    assert (shown[0], sorted(shown)) == (("a", 3, 2), [("a", 3, 2), ("b", 1, 1), ("c", 1, 1)])
    first = resend.Broadcasts.clicked_links(made, {"limit": 2})
    rest = resend.Broadcasts.clicked_links(made, {"limit": 2, "after": first["data"][-1]["id"]})
    assert (first["data"] + rest["data"], first["has_more"], rest["has_more"]) == (links["data"], True, False)
    back = resend.Broadcasts.clicked_links(made, {"limit": 2, "before": rest["data"][0]["id"]})
    assert (back["data"], back["has_more"]) == (first["data"], False)


def test_who_left_by_a_link_of_it(written, place, caller, queues):
    made = resend.Broadcasts.create(written | {"send": True})["id"]
    expand(place, made)
    parcels = queues.parcels()
    record(place, caller.tenant, parcels)
    left, elsewhere, _ = (delivery.to for parcel in parcels for delivery in parcel.deliveries)
    for address, source in ((left, UUID(made)), (elsewhere, new_id()), ("stranger@d1.test", UUID(made))):
        place.sql(
            "INSERT INTO unsubscribes (tenant, topic, address, reason, source, created_at) "
            "VALUES ($1, $2, $3, 'unsubscribe', $4, now())",
            caller.tenant, LISTS, address, source,
        )  # fmt: skip
    found = resend.Broadcasts.recipients(made, {"type": "unsubscribed"})
    check(found, resend.Broadcasts.RecipientsResponse)
    assert [person["email"] for person in found["data"]] == [left]


def test_another_tenants_broadcast_does_not_exist(written, new_caller, server):
    made = resend.Broadcasts.create(written)["id"]
    with server.client(new_caller().token) as stranger:
        for verb in ("send", "pause", "resume", "cancel", "duplicate", "resend", "preview"):
            assert stranger.post(f"/broadcasts/{made}/{verb}", json={}).status_code == 404, verb
        assert stranger.post(f"/broadcasts/{made}/test", json={"to": "a@d1.test"}).status_code == 404
        for path in ("", "/stats", "/recipients?type=sent", "/clicked-links"):
            assert stranger.get(f"/broadcasts/{made}{path}").status_code == 404, path
        assert stranger.patch(f"/broadcasts/{made}", json={}).status_code == 404
        assert stranger.delete(f"/broadcasts/{made}").status_code == 404
        assert stranger.get("/emails", params={"broadcast_id": made}).json()["data"] == []
    assert resend.Broadcasts.get(made)["status"] == "draft"
