"""The suppression list through the unmodified SDK, as CSV, and against mail."""

import asyncio
import csv
import io
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
import resend
from resend.suppressions._suppression import Suppression
from sdk_shapes import check, refused

from mailwarren.contracts.codec import decode_control
from mailwarren.contracts.events import Suppress
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.unsubscribe import LISTS
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.retention import DELETED, Retention
from mailwarren.store.states import Subscription

Suppressions = resend.Suppressions
OURS = {"scope", "topic_id", "reason", "expires_at"}


@pytest.fixture
def topic(client):
    """The id of a topic that everybody gets."""
    body = {"name": "News", "default_subscription": "opt_in", "visibility": "public"}
    return client.post("/topics", json=body).json()["id"]


def bounced(place, tenant, address, *, reason="invalid_recipient", expires_at=None):
    """What the tracker writes, as the release before this one does: without an id."""
    email = new_id()
    place.sql(
        "INSERT INTO suppressions (tenant, address, reason, origin, email_id, created_at, expires_at) "
        "VALUES ($1, $2, $3, 'bounce', $4, now(), $5)",
        tenant, address, reason, email, expires_at,
    )  # fmt: skip
    return email


def held_back(client, queues, to, **more):
    """Which of the recipients of a bulk call are suppressed."""
    rows = [{"to": one} for one in to]
    body = {"from": "Ada <ada@sender.test>", "subject": "Hi", "text": "Hello", "recipients": rows}
    assert client.post("/emails/bulk", json=body | more).status_code == 202
    return {one.to for parcel in queues.parcels() for one in parcel.deliveries if one.suppressed}


@pytest.mark.usefixtures("sdk")
class TestThroughTheSdk:
    def test_an_address_is_added_found_and_removed(self):
        made = Suppressions.add({"email": "Ada@Example.TEST"})
        check(made, Suppressions.AddSuppressionResponse)
        again = Suppressions.add({"email": "ada@example.test"})
        assert again["id"] == made["id"]
        for name in (made["id"], "ADA@example.test"):
            found = Suppressions.get(name)
            check(found, Suppression, ours=OURS)
            assert (found["id"], found["email"], found["origin"]) == (made["id"], "ada@example.test", "manual")
        page = Suppressions.list()
        check(page, Suppressions.ListResponse, ours={f"data.{name}" for name in OURS})
        assert [one["id"] for one in page["data"]] == [made["id"]]
        gone = Suppressions.remove("ada@EXAMPLE.test")
        check(gone, Suppressions.RemoveSuppressionResponse)
        assert (gone["id"], gone["deleted"]) == (made["id"], True)
        for call in (Suppressions.get, Suppressions.remove):
            assert refused(call, made["id"])[0] == 404
            assert refused(call, "ada@example.test")[0] == 404

    async def test_the_same_without_waiting(self):
        made = await Suppressions.add_async({"email": "ada@example.test"})
        check(await Suppressions.get_async(made["id"]), Suppression, ours=OURS)
        assert [one["id"] for one in (await Suppressions.list_async({"limit": 1}))["data"]] == [made["id"]]
        assert (await Suppressions.remove_async(made["id"]))["deleted"]

    def test_many_at_once(self):
        batch = Suppressions.Batch
        added = batch.add({"emails": ["a@x.test", "B@x.test", "A@X.test", "c@x.test"]})
        check(added, batch.AddResponse)
        ids = [one["id"] for one in added["data"]]
        assert len(set(ids)) == 3
        assert {one["id"] for one in batch.add({"emails": ["b@x.test", "d@x.test"]})["data"]} & set(ids) == {ids[1]}
        removed = batch.remove({"emails": ["A@x.test", "nobody@x.test"]})
        check(removed, batch.RemoveResponse)
        assert [one["id"] for one in removed["data"]] == [ids[0]]
        assert [one["id"] for one in batch.remove({"ids": [*ids, str(new_id())]})["data"]] == ids[1:]
        assert [one["email"] for one in Suppressions.list()["data"]] == ["d@x.test"]

    def test_what_the_tracker_wrote_has_an_id_and_its_email(self, place, caller):
        email = bounced(place, caller.tenant, "gone@x.test")
        Suppressions.add({"email": "mine@x.test"})
        found = Suppressions.get("gone@x.test")
        check(found, Suppression, ours=OURS)
        assert (found["origin"], found["source_id"], found["reason"]) == ("bounce", str(email), "invalid_recipient")
        assert [one["email"] for one in Suppressions.list()["data"]] == ["mine@x.test", "gone@x.test"]
        assert [one["email"] for one in Suppressions.list({"origin": "bounce"})["data"]] == ["gone@x.test"]
        assert Suppressions.add({"email": "gone@x.test"})["id"] == found["id"]
        assert Suppressions.remove(found["id"])["deleted"]

    def test_pages_are_newest_first_both_ways(self):
        ids = [Suppressions.add({"email": f"p{n}@x.test"})["id"] for n in range(5)][::-1]
        first = Suppressions.list({"limit": 2})
        assert ([one["id"] for one in first["data"]], first["has_more"]) == (ids[:2], True)
        rest = Suppressions.list({"limit": 3, "after": ids[1]})
        assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (ids[2:], False)
        before = Suppressions.list({"limit": 2, "before": ids[4]})
        assert [one["id"] for one in before["data"]] == ids[2:4]

    def test_another_tenants_entries_are_none(self, new_caller, monkeypatch):
        made = Suppressions.add({"email": "ada@example.test"})
        monkeypatch.setattr(resend, "api_key", new_caller().token)
        assert refused(Suppressions.get, made["id"])[0] == 404
        assert refused(Suppressions.remove, "ada@example.test")[0] == 404
        assert Suppressions.Batch.remove({"ids": [made["id"]]})["data"] == []
        assert Suppressions.list()["data"] == []

    @pytest.mark.parametrize(
        ("call", "params", "words"),
        [
            (Suppressions.add, {"email": "nobody"}, "Invalid `email` field"),
            (Suppressions.add, {}, "Missing `email` field"),
            (Suppressions.add, {"email": "a@x.test", "why": "x"}, "Unknown `why` field"),
            (Suppressions.add, {"email": "a@x.test", "scope": "topic"}, "Missing `topic_id` field"),
            (Suppressions.add, {"email": "a@x.test", "topic_id": str(UUID(int=9))}, "no topic with the id"),
            (Suppressions.add, {"email": "a@x.test", "expires_at": "2020-01-01T00:00:00Z"}, "in the past"),
            (Suppressions.Batch.add, {"emails": []}, "Missing `emails` field"),
            (Suppressions.Batch.add, {"emails": ["a@x.test", "b"]}, "Invalid `emails[1]` field"),
            (Suppressions.Batch.add, {"emails": [f"p{n}@x.test" for n in range(101)]}, "at most 100"),
            (Suppressions.Batch.remove, {"ids": ["1"]}, "Invalid `ids[0]` field"),
            (Suppressions.list, {"origin": "import"}, "`origin` parameter"),
            (Suppressions.get, "neither", "by its id or its email address"),
        ],
    )
    def test_what_cannot_be_is_refused_by_name(self, call, params, words):
        status, message = refused(call, params)
        assert (int(status), words in message) == (404 if "no topic" in words else 422, True), message


def test_an_entry_that_ends_holds_until_then(client, queues, place, caller):
    soon = datetime.now(UTC) + timedelta(hours=1)
    made = client.post("/suppressions", json={"email": "a@x.test", "expires_at": soon.isoformat()}).json()["id"]
    later = soon + timedelta(days=1)
    assert client.post("/suppressions", json={"email": "a@x.test", "expires_at": soon.isoformat()}).json()["id"] == made
    longer = client.post("/suppressions", json={"email": "a@x.test", "expires_at": later.isoformat()}).json()["id"]
    assert longer != made
    shown = client.get("/suppressions/a@x.test").json()
    assert (shown["id"], datetime.fromisoformat(shown["expires_at"])) == (longer, later)
    assert held_back(client, queues, ["a@x.test", "b@x.test"]) == {"a@x.test"}
    place.sql("UPDATE suppressions SET expires_at = now() WHERE tenant = $1", caller.tenant)
    assert client.get("/suppressions/a@x.test").status_code == 404
    assert client.get("/suppressions").json()["data"] == []
    assert held_back(client, queues, ["a@x.test"]) == set()
    for_ever = client.post("/suppressions", json={"email": "a@x.test"}).json()["id"]
    assert client.get(f"/suppressions/{for_ever}").json()["expires_at"] is None


def test_a_scope_holds_back_the_mail_that_it_is_about(client, queues, mail, topic):
    scopes = {"all@x.test": {}, "lists@x.test": {"scope": "lists"}, "topic@x.test": {"topic_id": topic}}
    for email, scope in scopes.items():
        assert client.post("/suppressions", json={"email": email} | scope).status_code == 200
    everybody = ["All@x.test", "Lists@x.test", "Topic@x.test", "none@x.test"]
    assert held_back(client, queues, everybody) == {"All@x.test", "Lists@x.test"}
    assert held_back(client, queues, everybody, topic_id=topic) == {"All@x.test", "Lists@x.test", "Topic@x.test"}
    assert held_back(client, queues, everybody, priority="normal") == {"All@x.test"}
    for more, held in (({}, {"All@x.test"}), ({"topic_id": topic}, set(everybody[:3]))):
        client.post("/emails", json=mail | {"to": everybody} | more)
        assert {one.to for parcel in queues.parcels() for one in parcel.deliveries if one.suppressed} == held
    batch = [mail | {"to": "topic@x.test"}, mail | {"to": "topic@x.test", "topic_id": topic}]
    assert client.post("/emails/batch", json=batch).status_code == 200
    assert sorted(one.suppressed for parcel in queues.parcels() for one in parcel.deliveries) == [False, True]


def test_a_scope_is_a_list_of_its_own(client, topic):
    ids = {}
    for name, scope in (("all", {}), ("lists", {"scope": "lists"}), ("topic", {"topic_id": topic})):
        ids[name] = client.post("/suppressions", json={"email": "ada@x.test"} | scope).json()["id"]
        [shown] = client.get("/suppressions", params=scope).json()["data"]
        assert (shown["id"], shown["scope"], shown["reason"]) == (ids[name], name, "manual")
        assert shown["topic_id"] == (topic if name == "topic" else None)
        assert client.get("/suppressions/ada@x.test", params=scope).json()["id"] == ids[name]
        assert client.get(f"/suppressions/{ids[name]}").json()["scope"] == name
    assert client.delete("/suppressions/ada@x.test", params={"scope": "lists"}).json()["id"] == ids["lists"]
    assert client.delete(f"/suppressions/{ids['topic']}").status_code == 200
    assert client.get("/suppressions/ada@x.test").json()["id"] == ids["all"]


def test_who_has_to_take_a_topic_first_gets_nothing_about_it_before(client, queues):
    topic = client.post("/topics", json={"name": "Beta", "default_subscription": "opt_out"}).json()["id"]
    client.post("/contacts", json={"email": "in@x.test", "topics": [{"id": topic, "subscription": "opt_in"}]})
    client.post("/contacts", json={"email": "none@x.test"})
    everybody = ["In@x.test", "none@x.test", "stranger@x.test"]
    assert held_back(client, queues, everybody, topic_id=topic) == {"none@x.test", "stranger@x.test"}


def test_contacts_and_the_list_say_the_same(client, topic):
    """Whichever side changes."""

    def sides():
        contact = client.get("/contacts/ada@x.test").json()
        [choice] = client.get("/contacts/ada@x.test/topics").json()["data"]
        listed = client.get("/suppressions/ada@x.test", params={"scope": "lists"}).status_code == 200
        left = client.get("/suppressions/ada@x.test", params={"topic_id": topic}).status_code == 200
        assert (contact["unsubscribed"], choice["subscription"] == Subscription.OUT) == (listed, left)
        return listed, left

    def change(method, path, body):
        answer = client.request(method, path, json=body)
        assert answer.status_code in {200, 201}, answer.text
        return sides()

    contact, topics = "/contacts/ada@x.test", "/contacts/ada@x.test/topics"
    assert change("POST", "/contacts", {"email": "Ada@x.test"}) == (False, False)
    assert change("PATCH", contact, {"unsubscribed": True}) == (True, False)
    assert change("PATCH", topics, [{"id": topic, "subscription": "opt_out"}]) == (True, True)
    assert change("PATCH", contact, {"first_name": "Ada"}) == (True, True)
    assert change("PATCH", contact, {"unsubscribed": False}) == (False, True)
    assert change("PATCH", topics, [{"id": topic, "subscription": "opt_in"}]) == (False, False)
    assert change("POST", "/suppressions", {"email": "ADA@x.test", "scope": "lists"}) == (True, False)
    assert change("POST", "/suppressions", {"email": "ada@x.test", "topic_id": topic}) == (True, True)
    client.delete("/suppressions/ada@x.test", params={"scope": "lists"})
    assert sides() == (False, True)
    client.delete("/suppressions/ada@x.test", params={"topic_id": topic})
    assert sides() == (False, False)
    assert change("POST", "/contacts", {"email": "ada@x.test", "unsubscribed": True}) == (True, False)
    assert change("POST", "/contacts", {"email": "ada@x.test"}) == (True, False)
    assert change("POST", "/contacts", {"email": "ada@x.test", "unsubscribed": False}) == (False, False)


def test_who_left_before_they_were_a_contact_stays_so(client, topic):
    client.post("/suppressions", json={"email": "ada@x.test", "scope": "lists"})
    client.post("/suppressions", json={"email": "ada@x.test", "topic_id": topic})
    client.post("/contacts", json={"email": "Ada@x.test"})
    assert client.get("/contacts/ada@x.test").json()["unsubscribed"]
    [choice] = client.get("/contacts/ada@x.test/topics").json()["data"]
    assert choice["subscription"] == "opt_out"
    client.delete("/contacts/ada@x.test")
    assert client.get("/suppressions/ada@x.test", params={"scope": "lists"}).status_code == 200
    client.post("/contacts", json={"email": "ada@x.test"})
    assert client.get("/contacts/ada@x.test").json()["unsubscribed"]


async def test_calls_that_meet_about_one_address_all_end_and_agree(server, caller, topic):
    """None waits in a circle, and afterwards both sides say the same."""

    async def at_once(client, number):
        for turn in range(6):
            odd = (number + turn) % 2
            await asyncio.to_thread(client.post, "/contacts", json={"email": "ada@x.test", "unsubscribed": bool(odd)})
            body = {"email": "ada@x.test"} | ({"scope": "lists"} if odd else {"topic_id": topic})
            found = await asyncio.to_thread(client.post, "/suppressions", json=body)
            assert found.status_code == 200, found.text
            await asyncio.to_thread(client.delete, "/suppressions/ada@x.test", params={"scope": "lists"})

    with server.client(caller.token) as client:
        await asyncio.gather(*(at_once(client, number) for number in range(4)))
        client.post("/suppressions", json={"email": "ada@x.test", "scope": "lists"})
        assert client.get("/contacts/ada@x.test").json()["unsubscribed"]


def test_a_file_goes_in_and_comes_out(client, queues, topic):
    rows = 2500
    text = "email,name,expires_at\r\n" + "".join(f"P{n}@x.test,Name,\r\n" for n in range(rows))
    text += "p0@x.test,twice,\r\nnobody,x,\r\n"
    text += "ended@x.test,x,2020-01-01T00:00:00Z\r\nsoon@x.test,x,2099-01-01T00:00:00Z\r\n"
    headers = {"content-type": "text/csv"}

    def pieces():
        for start in range(0, len(text), 7001):
            yield text[start : start + 7001].encode()

    done = client.post("/suppressions/csv", content=pieces(), headers=headers)
    assert done.status_code == 200, done.text
    assert done.json() == {
        "object": "suppression_import", "rows": rows + 2, "expired": 1, "invalid": 1, "ignored": ["name"],
        "errors": [{"line": rows + 3, "message": done.json()["errors"][0]["message"]}],
    }  # fmt: skip
    with client.stream("GET", "/suppressions/csv") as answer:
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert "content-length" not in answer.headers
        found = list(csv.DictReader(io.StringIO(answer.read().decode(), newline="")))
    assert {one["email"] for one in found} == {f"p{n}@x.test" for n in range(rows)} | {"soon@x.test"}
    assert {(one["origin"], one["reason"], one["scope"]) for one in found} == {("manual", "import", "all")}
    assert held_back(client, queues, ["p7@x.test", "ended@x.test"]) == {"p7@x.test"}
    again = client.post("/suppressions/csv", content=text.encode(), headers=headers)
    assert again.json()["rows"] == rows + 2
    lists = client.post("/suppressions/csv", params={"topic_id": topic}, content=b"email\na@x.test\n", headers=headers)
    assert lists.json()["rows"] == 1
    assert client.get("/suppressions/a@x.test", params={"topic_id": topic}).json()["reason"] == "import"


@pytest.mark.parametrize(
    ("content", "params", "status"),
    [(b"name\nx\n", {}, 422), (b"email\n\xff\n", {}, 422), (b"email\n", {"x": "y"}, 422), (b"", {}, 200)],
)
def test_a_file_that_cannot_be_read_is_refused(client, content, params, status):
    answer = client.post("/suppressions/csv", params=params, content=content, headers={"content-type": "text/csv"})
    assert answer.status_code == status, answer.text


def test_a_file_needs_a_key_that_may_do_more_than_send(server, new_caller):
    with server.client(new_caller(permission="sending_access").token) as client:
        assert client.post("/suppressions/csv", content=b"email\na@x.test\n").status_code == 401
        assert client.get("/suppressions/csv").status_code == 401


def test_every_sender_is_told(client, caller, place, queues, topic):
    entries = queues.follow(place.topology.control_log_queue.name)
    until = datetime.now(UTC) + timedelta(hours=1)
    client.post("/suppressions", json={"email": "Ada@x.test", "expires_at": until.isoformat()})
    client.post("/suppressions/batch/add", json={"emails": ["a@x.test", "b@x.test"], "topic_id": topic})
    client.delete("/suppressions/ada@x.test")
    client.post("/contacts", json={"email": "eve@x.test", "unsubscribed": True})
    found = []
    for message in entries:
        body = message.body.encode() if isinstance(message.body, str) else bytes(message.body)
        entry = decode_control(body, message.headers)
        if isinstance(entry, Suppress) and entry.tenant == caller.tenant:
            found.append(entry)
        if len(found) == 4:
            break
    assert all(abs(one.at - time.time()) < 60 for one in found)
    said = [msgspec.structs.replace(one, at=0.0) for one in found]
    assert said == [
        Suppress(caller.tenant, "ada@x.test", 0.0, until=until.timestamp()),
        Suppress(caller.tenant, "a@x.test", 0.0, topic=UUID(topic), more=("b@x.test",)),
        Suppress(caller.tenant, "ada@x.test", 0.0, removed=True),
        Suppress(caller.tenant, "eve@x.test", 0.0, topic=LISTS),
    ]


def test_what_has_ended_and_what_was_about_a_deleted_topic_is_forgotten(client, place, caller, topic):
    bounced(place, caller.tenant, "old@x.test", expires_at=datetime.now(UTC) - timedelta(hours=1))
    bounced(place, caller.tenant, "full@x.test", expires_at=datetime.now(UTC) + timedelta(hours=1))
    for email in ("a@x.test", "b@x.test"):
        client.post("/suppressions", json={"email": email, "topic_id": topic})
    client.post("/suppressions", json={"email": "a@x.test", "scope": "lists"})
    client.delete(f"/topics/{topic}")
    place.sql("UPDATE topics SET deleted_at = now() - interval '1 hour' WHERE tenant = $1", caller.tenant)

    async def forget():
        async with Database(place.database_url, 2) as database:
            rows = Retention(database, 500)
            await rows.suppressions()
            for kind in DELETED:
                await rows.deleted(kind)

    asyncio.run(forget())
    left = place.sql("SELECT address FROM suppressions WHERE tenant = $1", caller.tenant)
    assert [row["address"] for row in left] == ["full@x.test"]
    rows = place.sql("SELECT topic FROM unsubscribes WHERE tenant = $1", caller.tenant)
    assert [UUID(str(row["topic"])) for row in rows] == [LISTS]
    assert place.sql("SELECT 1 FROM topics WHERE tenant = $1", caller.tenant) == []
