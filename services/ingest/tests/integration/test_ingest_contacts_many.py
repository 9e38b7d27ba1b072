"""Contacts by the thousand: upserts that meet each other, who of a segment may be written to, how fast a page is."""

import asyncio
import time
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import pytest
import resend

from mailwarren.contracts.ids import new_id
from mailwarren.ingest.adapters.contacts import Contacts
from mailwarren.ingest.adapters.segments import Segments
from mailwarren.ingest.adapters.topics import Topics
from mailwarren.ingest.domain.contacts import ContactRow, email_key
from mailwarren.ingest.domain.topics import Choice
from mailwarren.store.states import Subscription

MANY = 100_000


def row(email, **values):
    return ContactRow(email=email, email_key=email_key(email), **values)


@pytest.fixture
async def connect(place):
    made = []

    async def one():
        made.append(await asyncpg.connect(place.database_url))
        return made[-1]

    yield one
    for connection in made:
        await connection.close()


@pytest.fixture
def tenant(caller):
    return caller.tenant


async def test_a_thousand_rows_are_one_statement_and_told_apart(connect, tenant):
    contacts = Contacts(await connect())
    first = await contacts.upsert(tenant, [row(f"p{n}@example.test", last_name="L") for n in range(500)], "upsert")
    assert (len(first), all(one.made for one in first)) == (500, True)
    rows = [row(f"P{n}@Example.test", first_name=f"F{n}", unsubscribed=n < 400 or None) for n in range(1000)]
    again = await contacts.upsert(tenant, rows, "upsert")
    assert len(again) == 1000
    known = {one.email_key: one.id for one in first}
    assert all(one.made == (one.email_key not in known) for one in again)
    assert all(one.id == known.get(one.email_key, one.id) for one in again)
    for number, name, out in ((7, "L", True), (450, "L", False), (700, None, False)):
        contact = await contacts.find(tenant, f"p{number}@example.test")
        assert (contact.first_name, contact.last_name, contact.unsubscribed) == (f"F{number}", name, out)
    skipped = [row(f"p{n}@example.test", first_name="no") for n in range(999, 1002)]
    assert [one.email_key for one in await contacts.upsert(tenant, skipped, "skip")] == [
        "p1000@example.test", "p1001@example.test",
    ]  # fmt: skip
    assert (await contacts.find(tenant, "p999@example.test")).first_name == "F999"


async def test_of_two_rows_with_one_address_the_later_stands(connect, tenant):
    contacts = Contacts(await connect())
    rows = [row("ada@example.test", first_name="A"), row("ADA@example.test", first_name="B")]
    [done] = await contacts.upsert(tenant, rows, "upsert")
    assert (await contacts.find(tenant, done.id)).first_name == "B"
    assert await contacts.upsert(tenant, [], "upsert") == []


async def test_the_same_address_from_two_connections_is_one_contact(connect, tenant):
    one, two = await connect(), await connect()
    transaction = one.transaction()
    await transaction.start()
    [made] = await Contacts(one).upsert(tenant, [row("ada@example.test", first_name="Ada")], "upsert")
    second = asyncio.create_task(
        Contacts(two).upsert(tenant, [row("ADA@Example.test", last_name="Lovelace")], "upsert")
    )
    waits = "SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted"
    async with asyncio.timeout(10):
        while not await one.fetchval(waits, two.get_server_pid()):
            await asyncio.sleep(0.01)
    await transaction.commit()
    [again] = await second
    assert (again.id, again.made, made.made) == (made.id, False, True)
    contact = await Contacts(one).find(tenant, "ada@example.test")
    assert (contact.email, contact.first_name, contact.last_name) == ("ada@example.test", "Ada", "Lovelace")


async def test_calls_that_share_addresses_never_wait_in_a_circle(connect, tenant):
    """Each locks in the order of the keys, in whatever order its rows are."""
    workers = [Contacts(await connect()) for _ in range(4)]
    rows = [row(f"p{n}@example.test", first_name="x") for n in range(300)]
    for _ in range(3):
        orders = (rows, rows[::-1], rows[150:] + rows[:150], rows[::2] + rows[1::2])
        done = await asyncio.gather(*(
            one.upsert(tenant, order, "upsert") for one, order in zip(workers, orders, strict=True)
        ))  # fmt: skip
        assert {len(found) for found in done} == {300}
        assert len({one.id for found in done for one in found}) == 300


@pytest.mark.usefixtures("sdk")
async def test_twenty_calls_at_once_make_one_contact():
    segment = (await resend.Segments.create_async({"name": "All"}))["id"]
    forms = ["ada@example.test", "ADA@example.test", "Ada@EXAMPLE.test", "aDA@example.TEST"] * 5
    made = await asyncio.gather(*(
        resend.Contacts.create_async({"email": form, "segments": [{"id": segment}]}) for form in forms
    ))  # fmt: skip
    assert len({one["id"] for one in made}) == 1
    assert len((await resend.Contacts.list_async(segment_id=segment))["data"]) == 1


@pytest.fixture
async def people(connect, place, tenant, sdk):
    """A segment with six contacts of whom some may be written to, and a topic."""
    connection = await connect()
    resend.ContactProperties.create({"key": "company", "type": "string", "fallback_value": "your company"})
    resend.ContactProperties.create({"key": "seats", "type": "number"})
    segment = UUID(resend.Segments.create({"name": "All"})["id"])
    topic = UUID(resend.Topics.create({"name": "News", "default_subscription": "opt_out"})["id"])
    ids = {}
    for name in ("Ada", "Bob", "Cyd", "Dan", "Eve", "Fay"):
        params = {"email": f"{name}@Müller.example", "first_name": name, "segments": [{"id": str(segment)}]}
        ids[name] = UUID(resend.Contacts.create(params | {"unsubscribed": name == "Bob"})["id"])
    resend.Contacts.update({"id": str(ids["Ada"]), "properties": {"company": "Acme", "seats": 3}})
    for name, expires in (("cyd", None), ("dan", datetime(2020, 1, 1, tzinfo=UTC))):
        place.sql(
            "INSERT INTO suppressions (tenant, address, reason, origin, created_at, expires_at) "
            "VALUES ($1, $2, 'hard', 'bounce', now(), $3)", tenant, f"{name}@xn--mller-kva.example", expires,
        )  # fmt: skip
    await Topics(connection).choose(tenant, [ids["Ada"], ids["Cyd"], ids["Fay"]], [Choice(topic, Subscription.IN)])
    return Contacts(connection), segment, topic


async def test_members_are_those_who_may_be_written_to(people, tenant):
    contacts, segment, topic = people

    async def names(*arguments):
        return [one.first_name for one in await contacts.members(tenant, segment, *arguments)]

    assert await names(None, 10, None) == ["Ada", "Dan", "Eve", "Fay"]
    assert await names(None, 10, topic) == ["Ada", "Fay"]
    first = await contacts.members(tenant, segment, None, 2, None)
    assert [one.first_name for one in first] == ["Ada", "Dan"]
    assert await names(first[-1].id, 2, None) == ["Eve", "Fay"]
    assert await names(first[-1].id, 2, topic) == ["Fay"]
    ada, dan = first
    assert (ada.address, ada.properties) == ("Ada@xn--mller-kva.example", {"company": "Acme", "seats": 3})
    assert dan.properties == {"company": "your company"}
    assert await contacts.members(new_id(), segment, None, 10, None) == []
    assert await names(None, 10, new_id()) == []
    resend.Topics.remove(str(topic))
    assert await names(None, 10, topic) == []
    resend.Segments.remove(str(segment))
    assert await names(None, 10, None) == []


async def test_many_are_put_into_segments_at_once(connect, tenant):
    connection = await connect()
    contacts, segments = Contacts(connection), Segments(connection)
    two = [(await segments.create(tenant, name))["id"] for name in ("One", "Two")]
    done = await contacts.upsert(tenant, [row(f"p{n}@example.test") for n in range(1000)], "upsert")
    ids = [one.id for one in done]
    await segments.add(tenant, ids[:700], two[:1])
    await segments.add(tenant, [*ids, new_id()], [*two, new_id()])
    for segment in two:
        assert len(await contacts.members(tenant, segment, None, 2000, None)) == 1000


async def test_a_page_of_a_hundred_thousand_is_read_within_a_tenth_of_a_second(connect, tenant, client):
    connection = await connect()
    segment = (await Segments(connection).create(tenant, "All"))["id"]
    now, ids = datetime.now(UTC), [new_id() for _ in range(MANY)]
    await connection.copy_records_to_table(
        "contacts",
        columns=("tenant", "id", "email", "email_key", "unsubscribed", "properties", "created_at", "updated_at"),
        records=((tenant, one, f"p{n}@x.test", f"p{n}@x.test", False, "{}", now, now) for n, one in enumerate(ids)),
    )
    await connection.copy_records_to_table(
        "contact_segments",
        columns=("tenant", "segment", "contact"),
        records=((tenant, segment, one) for one in ids),
    )
    await connection.execute("ANALYZE contacts, contact_segments")

    def best(path, **query):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            answer = client.get(path, params=query)
            times.append(time.perf_counter() - start)
        return min(times), answer.json()

    for path in (f"/segments/{segment}/contacts", "/contacts"):
        took, page = best(path, limit=100)
        assert ([one["id"] for one in page["data"]], page["has_more"]) == ([str(one) for one in ids[:-101:-1]], True)
        assert took < 0.1
        took, page = best(path, limit=100, after=str(ids[100]))
        assert ([one["id"] for one in page["data"]], page["has_more"]) == ([str(one) for one in ids[99::-1]], False)
        assert took < 0.1
    whole = client.get(f"/segments/{segment}/contacts").json()
    assert (len(whole["data"]), whole["has_more"]) == (10_000, True)
    start = time.perf_counter()
    members = await Contacts(connection).members(tenant, segment, ids[50_000], 1000, None)
    assert ([one.id for one in members], time.perf_counter() - start < 1) == (ids[50_001:51_001], True)
