"""A broadcast is expanded exactly: whoever crashes, whatever changes meanwhile, however full the broker is."""

import asyncio
import time
from uuid import UUID

import pytest
import resend
from domain_rows import add_domain
from expanding import PLENTY, add, emails_of, expand, fill, schedule, worker
from pydantic import SecretStr

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.unsubscribe import LISTS
from mailwarren.ingest.adapters.broker import Broker, Said
from mailwarren.ingest.adapters.database import Database, DatabaseDown
from mailwarren.ingest.adapters.depths import Depths
from mailwarren.ingest.adapters.expansions import Expansions, order_of
from mailwarren.ingest.domain.admission import Marks
from mailwarren.ingest.ops import broadcasts as errand
from mailwarren.ingest.ops import expansion as use_case
from mailwarren.ingest.settings import OpsSettings

pytestmark = pytest.mark.usefixtures("sdk")

BATCH = 10


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Batches of ten, and no long waits."""
    monkeypatch.setattr(use_case, "BATCH", BATCH)
    monkeypatch.setattr(use_case, "PAUSE", 0.0)


@pytest.fixture
def sent(place, caller):
    """A broadcast to 35 contacts, which no worker has yet; its segment and their ids."""
    segment, contacts = fill(place, caller.tenant, 35)
    body = {"segment_id": str(segment), "from": "a@sender.test", "subject": "s", "text": "{{{FIRST_NAME|you}}}"}
    return resend.Broadcasts.create(body | {"send": True})["id"], segment, contacts


@pytest.fixture
def row(place):
    return lambda broadcast: place.sql("SELECT * FROM broadcasts WHERE id = $1", UUID(broadcast))[0]


def emails(parcels):
    return [delivery.email_id for parcel in parcels for delivery in parcel.deliveries]


def partitions(parcels):
    return {delivery.email_id: parcel.partition for parcel in parcels for delivery in parcel.deliveries}


def at_call(monkeypatch, owner, name, number, act):
    """Before the ``number``-th call of a method, do something."""
    plain, calls = getattr(owner, name), []

    async def wrapped(self, *arguments):
        calls.append(name)
        if len(calls) == number:
            await asyncio.to_thread(act)
        return await plain(self, *arguments)

    monkeypatch.setattr(owner, name, wrapped)


def fail():
    raise DatabaseDown("cut")


def test_everybody_once_in_batches(sent, place, queues, row):
    made, _, contacts = sent
    assert expand(place, made) == "35 recipients, the last ones"
    found = emails(queues.parcels())
    assert sorted(found) == sorted(emails_of(made, contacts))
    done = row(made)
    assert (done["state"], done["published"], done["cursor"], done["upto"], done["owner"]) == (
        "sent", 35, contacts[-1], None, None,
    )  # fmt: skip
    assert done["started_at"] <= done["ended_at"]
    assert expand(place, made, 2) is None


def test_its_mail_is_signed_and_has_links_and_who_left_its_list_gets_none(place, caller, queues, monkeypatch):
    segment, contacts = fill(place, caller.tenant, 35)
    add_domain(place, caller.tenant, "signed.test", tls="enforced", returns=True)
    address = place.sql("SELECT email_key FROM contacts WHERE tenant = $1 AND id = $2", caller.tenant, contacts[12])
    # As by somebody who followed a link while the batch was read: the contact does not say so.
    place.sql(
        "INSERT INTO unsubscribes (tenant, topic, address, reason, created_at) "
        "VALUES ($1, $2, $3, 'unsubscribe', now())",
        caller.tenant, LISTS, address[0]["email_key"],
    )  # fmt: skip
    body = {"segment_id": str(segment), "from": "a@signed.test", "subject": "s", "text": "hi", "priority": "normal"}
    made = resend.Broadcasts.create(body | {"send": True})["id"]
    assert expand(place, made) == "35 recipients, the last ones"
    parcels = queues.parcels()
    assert {(one.content.signing, one.content.envelope_sender, one.content.tls) for one in parcels} == {
        ("signed.test", "bounces@send.signed.test", "required")
    }
    assert {one.unsubscribe.base for one in parcels} == {"https://mail.test/u/"}
    left = [one.to for parcel in parcels for one in parcel.deliveries if one.suppressed]
    assert left == [address[0]["email_key"]]


def test_a_worker_looks_at_the_queues_before_its_first_batch(monkeypatch, place, queues, row, mail):
    plain = Depths._depth

    async def slow(self, name):
        await asyncio.sleep(0.005)
        return await plain(self, name)

    monkeypatch.setattr(Depths, "_depth", slow)
    segment = resend.Segments.create({"name": "All"})["id"]
    resend.Contacts.create({"email": "ada@d1.test", "segments": [{"id": segment}]})
    body = {"segment_id": segment, "from": "a@sender.test", "subject": "s", "text": "x", "priority": "normal"}
    made = resend.Broadcasts.create(body | {"send": True})["id"]
    resend.Emails.send(mail | {"to": "bob@d1.test"})
    settings = OpsSettings(
        amqp_url=SecretStr(place.amqp_url),
        amqp_prefix=place.prefix,
        retry_scale=place.topology.retry_scale,
        max_depth=0,
    )

    async def run(number):
        async with Database(place.database_url, 2) as database:
            return await errand.expand(database, settings, lambda: True, order_of(UUID(made), number, time.time()))

    said = asyncio.run(run(1))
    assert said.startswith("0 recipients, then it has to wait: Too many normal mails wait"), said
    assert row(made)["published"] == 0
    queues.empty()
    assert asyncio.run(run(2)) == "1 recipients, the last ones"


@pytest.mark.parametrize(
    ("method", "number"), [("begin", 1), ("published", 1), ("published", 2), ("published", 4), ("finish", 1)]
)
def test_a_crash_anywhere_repeats_one_batch_under_the_same_ids(sent, place, queues, row, monkeypatch, method, number):
    made, _, contacts = sent
    with monkeypatch.context() as patch:
        at_call(patch, Expansions, method, number, fail)
        with pytest.raises(DatabaseDown):
            expand(place, made)
    first = queues.parcels()
    # The broker gives the dead worker's order to another, which goes on at once.
    assert expand(place, made).endswith("the last ones")
    second = queues.parcels()
    assert set(emails(first)) | set(emails(second)) == emails_of(made, contacts)
    repeated = set(emails(first)) & set(emails(second))
    assert len(repeated) <= BATCH
    assert (len(emails(first)), len(emails(second))) == (len(set(emails(first))), len(set(emails(second))))
    # The second copies are asked about in the partition that has heard of the first.
    before, after = partitions(first), partitions(second)
    assert {one: before[one] for one in repeated} == {one: after[one] for one in repeated}
    assert all(parcel.settle for parcel in first + second)
    assert row(made)["published"] == 35


def test_members_that_come_and_go_meanwhile(sent, place, caller, queues, monkeypatch):
    made, segment, contacts = sent
    late = [new_id()]

    def change():
        add(place, caller.tenant, segment, late)
        place.sql("DELETE FROM contact_segments WHERE contact = ANY($1::uuid[])", [contacts[0], contacts[30]])
        place.sql("UPDATE contacts SET unsubscribed = true WHERE id = $1", contacts[31])

    # While the first batch is published the second is read already.
    with monkeypatch.context() as patch:
        at_call(patch, Expansions, "published", 1, change)
        expand(place, made)
    wanted = [one for one in contacts if one not in {contacts[30], contacts[31]}] + late
    assert sorted(emails(queues.parcels())) == sorted(emails_of(made, wanted))


def test_members_that_come_into_a_batch_that_is_repeated_push_nobody_into_another_partition(
    sent, place, caller, queues, monkeypatch
):
    made, segment, contacts = sent
    older = [UUID(int=contacts[0].int + 1 + n) for n in range(2 * BATCH)]
    with monkeypatch.context() as patch:
        at_call(patch, Expansions, "published", 1, fail)
        with pytest.raises(DatabaseDown):
            expand(place, made)
    first = queues.parcels()
    add(place, caller.tenant, segment, older)
    expand(place, made)
    second = queues.parcels()
    assert set(emails(second)) == emails_of(made, [*contacts, *older])
    before, after = partitions(first), partitions(second)
    assert {one: after[one] for one in before} == before


def test_a_pause_stops_after_the_batch_in_hand_and_a_resume_goes_on(sent, place, client, queues, row, monkeypatch):
    made, _, contacts = sent
    with monkeypatch.context() as patch:
        at_call(patch, Broker, "publish", 2, lambda: client.post(f"/broadcasts/{made}/pause"))
        assert expand(place, made) == "20 recipients, then it was stopped"
    assert (row(made)["state"], row(made)["owner"]) == ("paused", None)
    assert expand(place, made, 2) is None
    first = emails(queues.parcels())
    client.post(f"/broadcasts/{made}/resume")
    assert expand(place, made, 3) == "15 recipients, the last ones"
    assert sorted(first + emails(queues.parcels())) == sorted(emails_of(made, contacts))


def test_paused_and_resumed_within_one_batch_it_goes_on_with_the_next_order(sent, place, client, queues, monkeypatch):
    made, _, contacts = sent

    def both():
        client.post(f"/broadcasts/{made}/pause")
        client.post(f"/broadcasts/{made}/resume")

    with monkeypatch.context() as patch:
        at_call(patch, Broker, "publish", 1, both)
        assert expand(place, made) == "10 recipients, then it was stopped"
    expand(place, made, 2)
    assert sorted(emails(queues.parcels())) == sorted(emails_of(made, contacts))


def test_a_cancel_stops_after_the_batch_in_hand(sent, place, queues, row, monkeypatch):
    made, _, _ = sent
    with monkeypatch.context() as patch:
        at_call(patch, Broker, "publish", 2, lambda: resend.Broadcasts.cancel(made))
        expand(place, made)
    assert (len(emails(queues.parcels())), row(made)["state"], row(made)["published"]) == (20, "canceled", 20)
    assert row(made)["told_at"] is not None


def test_a_second_worker_leaves_it_alone_until_the_lease_is_over_and_then_the_first_stops(
    sent, place, queues, row, monkeypatch
):
    made, _, contacts = sent
    said = {}

    def other():
        said["held"] = expand(place, made, 2)
        place.sql("UPDATE broadcasts SET lease_until = now() - interval '1 second' WHERE id = $1", UUID(made))
        said["free"] = expand(place, made, 3)

    with monkeypatch.context() as patch:
        at_call(patch, Expansions, "published", 1, other)
        assert expand(place, made) == "10 recipients, then it was stopped"
    assert said == {"held": None, "free": "35 recipients, the last ones"}
    found = emails(queues.parcels())
    assert set(found) == emails_of(made, contacts)
    assert len(found) == 45
    assert (row(made)["state"], row(made)["published"]) == ("sent", 35)


def test_without_room_it_waits_says_why_and_goes_on(sent, place, client, queues, row, monkeypatch):
    made, _, contacts = sent
    monkeypatch.setattr(use_case, "WAIT_HERE", 0.5)
    client.post("/emails", json={"from": "a@sender.test", "to": "x@d1.test", "subject": "s", "text": "t"})
    # The tracker's queue holds that one mail, which is more than none.
    said = expand(place, made, marks=Marks(10**6, 0))
    assert said == "0 recipients, then it has to wait: Too many results wait to be recorded."
    assert row(made)["trouble"] == "Too many results wait to be recorded."
    assert client.get(f"/broadcasts/{made}/stats").json()["trouble"] == row(made)["trouble"]
    queues.empty()
    schedule(place)
    assert row(made)["orders"] == 2
    assert expand(place, made, 2) == "35 recipients, the last ones"
    assert (sorted(emails(queues.parcels())), row(made)["trouble"]) == (sorted(emails_of(made, contacts)), None)


def test_what_the_broker_does_not_confirm_is_published_again(sent, place, queues, row, monkeypatch):
    made, _, contacts = sent
    plain, refused = Broker._publish_traced, []

    async def some(self, parcel):
        if len(refused) < 3:
            refused.append(parcel.id)
            return Said.NOT_STORED
        return await plain(self, parcel)

    monkeypatch.setattr(Broker, "_publish_traced", some)
    assert expand(place, made) == "35 recipients, the last ones"
    assert sorted(emails(queues.parcels())) == sorted(emails_of(made, contacts))

    async def never(self, parcel):
        return Said.UNCONFIRMED

    again = resend.Broadcasts.duplicate(made)["id"]
    resend.Broadcasts.send({"broadcast_id": again})
    monkeypatch.setattr(Broker, "_publish_traced", never)
    assert expand(place, again) == (
        "0 recipients, then it has to wait: the message broker did not confirm all of a batch"
    )
    assert (row(again)["state"], row(again)["cursor"], row(again)["published"]) == ("sending", None, 0)


def test_a_worker_that_ends_leaves_the_rest_to_the_next_order(sent, place, queues, row):
    made, _, contacts = sent
    assert expand(place, made, stopping=lambda: True) == "10 recipients, to be continued"
    schedule(place)
    assert row(made)["orders"] == 2
    assert expand(place, made, 2) == "25 recipients, the last ones"
    assert sorted(emails(queues.parcels())) == sorted(emails_of(made, contacts))


def test_an_empty_segment_is_sent_at_once(place, caller, client, queues):
    segment, _ = fill(place, caller.tenant, 0)
    body = {"segment_id": str(segment), "from": "a@sender.test", "subject": "s", "text": "t", "send": True}
    made = resend.Broadcasts.create(body)["id"]
    assert expand(place, made) == "0 recipients, the last ones"
    stats = client.get(f"/broadcasts/{made}/stats").json()
    assert (stats["status"], stats["published"], stats["progress"]) == ("sent", 0, None)
    assert stats["audience"]["members"] == 0
    assert queues.parcels() == []


def test_two_thousand_contacts_at_five_thousand_a_second(place, caller, queues, monkeypatch):
    """A broker, a database and a worker on the machine of the tests; ``make broadcast-check`` measures the rest."""
    monkeypatch.setattr(use_case, "BATCH", 1000)
    segment, contacts = fill(place, caller.tenant, 2000, domains=20)
    body = {"segment_id": str(segment), "from": "a@sender.test", "subject": "s", "text": "Hi {{{contact.email}}}"}
    made = resend.Broadcasts.create(body | {"send": True})["id"]

    async def timed():
        async with worker(place, marks=PLENTY) as expansion:
            order = order_of(UUID(made), 1, time.time())
            began = time.monotonic()
            said = await expansion.run(order.subject, order.id)
            return said, time.monotonic() - began

    said, took = asyncio.run(timed())
    assert said == "2000 recipients, the last ones"
    assert sorted(emails(queues.parcels())) == sorted(emails_of(made, contacts))
    # Four times what it takes alone: other tests run beside it.
    assert took < 4 * 2000 / 5000
