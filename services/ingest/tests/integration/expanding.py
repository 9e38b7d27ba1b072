"""Broadcasts as a worker expands them, in the test's own process, and lists that they go to."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from mailwarren.contracts.ids import broadcast_email_id, new_id
from mailwarren.contracts.tracking import COUNTED, Flag
from mailwarren.ingest.adapters.broker import Broker
from mailwarren.ingest.adapters.contacts import Contacts
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.depths import Depths
from mailwarren.ingest.adapters.expansions import Expansions, order_of
from mailwarren.ingest.adapters.sending_domains import SendingDomains
from mailwarren.ingest.adapters.suppressions import Suppressions
from mailwarren.ingest.broadcast_orders import BroadcastOrders
from mailwarren.ingest.domain.admission import Marks, room_at_all
from mailwarren.ingest.domain.unsubscribe_links import Links
from mailwarren.ingest.ops.expansion import Expansion, Reach
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.runtime.tasks import end

PLENTY = Marks(10**6, 10**6)
LINKS = Links("https://mail.test", ["a key that nobody guesses"])


def fill(place: Any, tenant: UUID, count: int, *, domains: int = 3) -> tuple[UUID, list[UUID]]:
    """A segment with contacts, straight into the tables; its id and theirs, in their order."""
    segment, contacts = new_id(), sorted(new_id() for _ in range(count))
    place.sql(
        "INSERT INTO segments (tenant, id, name, created_at, updated_at) VALUES ($1, $2, 'all', now(), now())",
        tenant, segment,
    )  # fmt: skip
    add(place, tenant, segment, contacts, domains=domains)
    return segment, contacts


def add(place: Any, tenant: UUID, segment: UUID, contacts: Sequence[UUID], *, domains: int = 3) -> None:
    """More contacts for a segment: every other one with a first name."""
    place.sql(
        "INSERT INTO contacts (tenant, id, email, email_key, first_name, unsubscribed, properties, created_at, "
        "updated_at) SELECT $1, id, address, address, CASE WHEN n % 2 = 0 THEN 'N' || n END, false, '{}', now(), now() "
        "FROM (SELECT id, n, 'c' || left(replace(id::text, '-', ''), 12) || right(id::text, 8) || '@d' || n % $3::int "
        "|| '.test' AS address FROM unnest($2::uuid[]) WITH ORDINALITY AS t (id, n)) c",
        tenant, list(contacts), domains,
    )  # fmt: skip
    place.sql(
        "INSERT INTO contact_segments (tenant, segment, contact) SELECT $1, $2, unnest($3::uuid[])",
        tenant, segment, list(contacts),
    )  # fmt: skip


@asynccontextmanager
async def worker(place: Any, *, database_url: str | None = None, marks: Marks = PLENTY, stopping: Any = None) -> Any:
    """An expansion with connections of its own."""
    link = Link(place.amqp_url, "worker-test")
    # Before the link is up: they open their channels when it comes up.
    depths, broker = Depths(link, place.topology, 0.2), Broker(Publisher(link), place.topology)
    async with Database(database_url or place.database_url, 2) as database, link:
        async with asyncio.timeout(10):
            await link.wait_up()
        if marks is not PLENTY:
            follow = asyncio.create_task(depths.follow())
            while room_at_all(depths.state, marks) is None:
                await asyncio.sleep(0.02)
        domains = SendingDomains(database, bounce_host="bounces.test")
        await domains.refresh()
        yield Expansion(
            expansions=Expansions(database),
            database=database,
            contacts=Contacts(database),
            broker=broker,
            depths=depths,
            marks=marks,
            reach=Reach(domains, LINKS, Suppressions(database, 4.0)),
            stopping=stopping or (lambda: False),
        )
        if marks is not PLENTY:
            await end([follow])


def expand(place: Any, broadcast: str | UUID, number: int = 1, **options: Any) -> str | None:
    """Carry out an order for a broadcast."""

    async def run() -> str | None:
        async with worker(place, **options) as expansion:
            order = order_of(UUID(str(broadcast)), number, time.time())
            return await expansion.run(order.subject, order.id)  # type: ignore[no-any-return]

    return asyncio.run(run())


def schedule(place: Any, *, overdue: timedelta = timedelta(hours=1)) -> None:
    """One round of a scheduler."""

    async def run() -> None:
        link = Link(place.amqp_url, "scheduler-test")
        broker = Broker(Publisher(link), place.topology)
        async with Database(place.database_url, 2) as database, link:
            async with asyncio.timeout(10):
                await link.wait_up()
            await BroadcastOrders(Expansions(database), broker, overdue).release()

    asyncio.run(run())


def emails_of(broadcast: str | UUID, contacts: Sequence[UUID]) -> set[UUID]:
    """The ids that the emails of a broadcast have."""
    return {broadcast_email_id(str(broadcast), contact) for contact in contacts}


def record(place: Any, tenant: UUID, parcels: Sequence[Any], states: Sequence[str] = ("delivered",)) -> None:
    """The ledger as the tracker would have it: deliveries end in these states, in turn."""
    deliveries = [(parcel, delivery) for parcel in parcels for delivery in parcel.deliveries]
    place.sql(
        "INSERT INTO deliveries (id, email_id, tenant, address, lane, state, updated_at, ended_at, broadcast, "
        "bounce_class) SELECT id, email, $1, address, 'bulk', state, now(), "
        "CASE WHEN state NOT IN ('accepted', 'deferred') THEN now() END, broadcast, "
        "CASE state WHEN 'bounced' THEN 'invalid_recipient' END "
        "FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::uuid[]) "
        "AS t (id, email, address, state, broadcast)",
        tenant,
        [delivery.id for _, delivery in deliveries],
        [delivery.email_id for _, delivery in deliveries],
        [delivery.to for _, delivery in deliveries],
        [states[n % len(states)] for n in range(len(deliveries))],
        [parcel.broadcast for parcel, _ in deliveries],
    )  # fmt: skip
    place.sql(
        'INSERT INTO emails (id, tenant, created_at, request_id, lane, partition, content, sender, subject, "to", cc, '
        "bcc, reply_to, tags, metadata, message_id, on_unknown) SELECT id, $1, now(), request, 'bulk', 0, 'x', "
        "'a@sender.test', 's', ARRAY[address], '{}', '{}', '{}', '[]', '{}', id || '@sender.test', 'resend' "
        "FROM unnest($2::uuid[], $3::text[], $4::uuid[]) AS t (id, address, request)",
        tenant,
        [delivery.email_id for _, delivery in deliveries],
        [delivery.to for _, delivery in deliveries],
        [parcel.request_id for parcel, _ in deliveries],
    )  # fmt: skip


def click(place: Any, tenant: UUID, delivery: Any, url: str, flag: Flag | None = None) -> None:
    """A click as the tracker records it: one that does not count changes nothing but the events."""
    place.sql(
        "INSERT INTO events (at, id, delivery_id, email_id, tenant, kind, attempt, link, flag) "
        "VALUES (now(), $1, $2, $3, $4, 'clicked', 0, $5, $6)",
        new_id(), delivery.id, delivery.email_id, tenant, url, flag,
    )  # fmt: skip
    if flag in COUNTED:
        place.sql("UPDATE deliveries SET clicks = clicks + 1, clicked_at = now() WHERE id = $1", delivery.id)
