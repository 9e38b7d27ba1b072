"""The use case of a broadcast: who is in the segment → parcels → confirmed by the broker → cursor (ADR 0030).

Batches go by the ids of contacts. How far a batch goes is committed before it is published, and that it was published
after the broker's confirm, together with how far the next one goes. A crash in between publishes one batch again: the
same emails under the same ids in the same partition; every parcel of a broadcast asks the tracker before it is sent.

Who is written to is decided when a batch is read: a contact that joins the segment is in if its id is still ahead, and
one that leaves it, unsubscribes or is suppressed is out if it is.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid5

import structlog

from mailwarren.contracts.address_key import address_key
from mailwarren.contracts.ids import broadcast_email_id, new_id
from mailwarren.contracts.routing import domain_of
from mailwarren.contracts.shards import shard_of
from mailwarren.contracts.unsubscribe import LISTS
from mailwarren.ingest.adapters.broker import Broker, Said
from mailwarren.ingest.adapters.contacts import Contacts, audience
from mailwarren.ingest.adapters.database import Database, DatabaseDown
from mailwarren.ingest.adapters.depths import Depths
from mailwarren.ingest.adapters.expansions import Broadcast, Expansions
from mailwarren.ingest.adapters.sending_domains import SendingDomains
from mailwarren.ingest.adapters.suppressions import Suppressions
from mailwarren.ingest.domain.admission import Full, Marks, room_for
from mailwarren.ingest.domain.broadcast_mail import email_to
from mailwarren.ingest.domain.contacts import Recipient
from mailwarren.ingest.domain.email import Numbered
from mailwarren.ingest.domain.list_mail import Left
from mailwarren.ingest.domain.parcels import Plan, PlannedParcel, plan_parcels
from mailwarren.ingest.domain.unsubscribe_links import Links
from mailwarren.ingest.metrics import record_accepted, record_no_room
from mailwarren.ingest.ops import metrics
from mailwarren.store.states import BroadcastState

log = structlog.get_logger()

BATCH = 1000
"""Contacts read and published together."""
SLICE = 30.0
"""Seconds that one order is worked on: then other orders have their turn, and nothing is unacked for long."""
PUBLISH_WITHIN = 4.0
"""Seconds in which publishes of a batch may start."""
TRIES = 3
"""Times that the rest of a batch is published before it is put back."""
WAIT_HERE = 20.0
"""Seconds that a batch waits for room before another worker looks again."""
LOOK_EVERY = 0.25
"""Seconds between two looks for room."""
PAUSE = 3.0
"""Seconds until a broadcast is looked at again that had no room, or of which the broker did not confirm a batch."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Contacts with ids above ``after`` and up to ``upto``: those of them that are written to."""

    after: UUID | None
    upto: UUID
    recipients: Sequence[Recipient]
    left: Mapping[UUID, frozenset[str]]
    """Who of them has left lists without being told so as a contact, by topic."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What mail to lists is sent with: who signs it, how its readers leave, and who has left."""

    domains: SendingDomains
    links: Links
    suppressions: Suppressions


class Expansion:
    """Works on a broadcast.

    Args:
        expansions: its table.
        database: for the count of the segment.
        contacts: who is in it.
        broker: where the mails go.
        depths: of its queues.
        marks: above which nothing more is published.
        reach: what its mail is sent with.
        stopping: whether the worker ends.
    """

    def __init__(
        self,
        *,
        expansions: Expansions,
        database: Database,
        contacts: Contacts,
        broker: Broker,
        depths: Depths,
        marks: Marks,
        reach: Reach,
        stopping: Callable[[], bool],
    ) -> None:
        self._rows = expansions
        self._database = database
        self._contacts = contacts
        self._broker = broker
        self._depths = depths
        self._marks = marks
        self._reach = reach
        self._stopping = stopping

    async def run(self, ident: UUID, owner: UUID) -> str | None:
        """Publish what is to be published of a broadcast; what was done, in words, or None for nothing.

        Raises:
            DatabaseDown: the batch in hand may be published and not noted.
        """
        broadcast = await self._rows.take(ident, owner)
        if broadcast is None:
            return None
        structlog.contextvars.bind_contextvars(broadcast=str(broadcast.id), tenant=str(broadcast.tenant))
        try:
            async with self._counting(broadcast):
                said = await self._expand(broadcast)
        finally:
            structlog.contextvars.unbind_contextvars("broadcast", "tenant")
        return said

    async def _expand(self, broadcast: Broadcast) -> str:
        until, done, cursor = time.monotonic() + SLICE, 0, broadcast.cursor
        batch = await self._read(broadcast, cursor, broadcast.upto)
        going = batch is None or await self._rows.begin(broadcast, cursor, batch.upto)
        while going and batch is not None:
            trouble, following = await self._send(broadcast, batch)
            if trouble is not None:
                await self._rows.leave(broadcast, PAUSE, trouble)
                log.info("worker.broadcast.put_back", why=trouble, recipients=done)
                return f"{done} recipients, then it has to wait: {trouble}"
            upto = None if following is None else following.upto
            state = await self._rows.published(broadcast, cursor, batch.upto, upto, len(batch.recipients))
            if cursor is None:
                metrics.record_broadcast_started(time.time() - broadcast.due_at.timestamp())
            done += len(batch.recipients)
            cursor, batch = batch.upto, following
            going = state is BroadcastState.SENDING
            if going and batch is not None and (self._stopping() or time.monotonic() > until):
                await self._rows.leave(broadcast)
                return f"{done} recipients, to be continued"
        if not going or not await self._rows.finish(broadcast, cursor):
            # Paused or canceled, or another worker's.
            await self._rows.leave(broadcast)
            log.info("worker.broadcast.stopped", recipients=done)
            return f"{done} recipients, then it was stopped"
        log.info("worker.broadcast.sent", recipients=done)
        return f"{done} recipients, the last ones"

    async def _send(self, broadcast: Broadcast, batch: Batch) -> tuple[str | None, Batch | None]:
        """Publish a batch when there is room, and read the next one meanwhile; why it was not published."""
        if (trouble := await self._room(broadcast, batch)) is not None:
            return trouble, None
        reading = asyncio.create_task(self._read(broadcast, batch.upto, None))
        try:
            trouble = await self._publish(broadcast, batch)
            return trouble, await reading
        finally:
            reading.cancel()

    async def _read(self, broadcast: Broadcast, after: UUID | None, upto: UUID | None) -> Batch | None:
        """The next batch; the one up to ``upto`` when that was begun before; None when nobody is left."""
        found: list[Recipient] = []
        last = after
        while True:
            page = await self._contacts.members(broadcast.tenant, broadcast.segment, last, BATCH, broadcast.topic)
            found += page
            last = page[-1].id if page else last
            # Members may have come since it was begun: the page that reaches its end may be the second.
            if upto is None or len(page) < BATCH or (last is not None and last >= upto):
                break
        if upto is not None:
            found = [one for one in found if one.id <= upto]
        elif last is None or last == after:
            return None
        else:
            upto = last
        if broadcast.resend_of is not None:
            found = await self._those_to_resend(broadcast, broadcast.resend_of, found)
        addresses = {address_key(one.address) for one in found}
        left = await self._reach.suppressions.left(broadcast.tenant, {broadcast.topic or LISTS: addresses})
        if left is None:
            raise DatabaseDown("who has left the list could not be read")
        return Batch(after, upto, found, left)

    async def _those_to_resend(self, broadcast: Broadcast, before: UUID, found: Sequence[Recipient]) -> list[Recipient]:
        emails = {one.id: broadcast_email_id(before, one.id) for one in found}
        wanted = await self._rows.ended_so(broadcast.tenant, list(emails.values()), broadcast.resend_states)
        return [one for one in found if emails[one.id] in wanted]

    async def _room(self, broadcast: Broadcast, batch: Batch) -> str | None:
        """None as soon as there is room for a batch, or when it is not to be sent any more; else why there is none."""
        shards = sorted({shard_of(domain_of(one.address)) for one in batch.recipients})
        until = time.monotonic() + WAIT_HERE
        turn = 0
        while (full := self._full(broadcast, shards)) is not None:
            if turn == 0:
                record_no_room(full.reason, len(batch.recipients))
                metrics.record_broadcast_wait(full.reason)
                log.info("worker.broadcast.waits", reason=full.reason)
            if self._stopping() or time.monotonic() > until:
                return full.message
            # Every second, which also shows whether it was paused meanwhile.
            if turn % 4 == 0 and await self._rows.keep(broadcast, full.message) is not BroadcastState.SENDING:
                return full.message
            await asyncio.sleep(LOOK_EVERY)
            turn += 1
        return None

    def _full(self, broadcast: Broadcast, shards: Sequence[str]) -> Full | None:
        state = self._depths.state
        found = (room_for(broadcast.lane, shard, state, self._marks) for shard in shards)
        return next((full for full in found if full is not None), None)

    async def _publish(self, broadcast: Broadcast, batch: Batch) -> str | None:
        """None when the broker has all of a batch; else why not."""
        left: Iterator[PlannedParcel] = _planned(broadcast, batch, self._reach)
        for turn in range(TRIES):
            if turn:
                await asyncio.sleep(0.5 * turn)
                if await self._rows.keep(broadcast, None) is not BroadcastState.SENDING:
                    break
            missing: list[PlannedParcel] = []
            for planned, said in await self._broker.publish(left, PUBLISH_WITHIN):
                if said is Said.CONFIRMED:
                    record_accepted(planned.parcel.lane.value, len(planned.parcel.deliveries), 0)
                    metrics.record_broadcast_recipients(len(planned.parcel.deliveries))
                else:
                    missing.append(planned)
            if not missing:
                return None
            left = iter(missing)
        return "the message broker did not confirm all of a batch"

    @asynccontextmanager
    async def _counting(self, broadcast: Broadcast) -> AsyncIterator[None]:
        """Count the segment beside the first batches: for a million members it takes seconds."""
        if broadcast.counted:
            yield
            return

        async def count() -> None:
            # A broadcast without a count is still sent.
            with contextlib.suppress(DatabaseDown):
                found = await audience(self._database, broadcast.tenant, broadcast.segment, broadcast.topic)
                await self._rows.counted(broadcast.id, found)

        counting = asyncio.create_task(count())
        try:
            yield
            await counting
        finally:
            counting.cancel()


def _planned(broadcast: Broadcast, batch: Batch, reach: Reach) -> Iterator[PlannedParcel]:
    # Of the place where the batch begins, so that the same batch goes through the same partition when it is repeated.
    base = uuid5(broadcast.id, str(batch.after))
    plan = Plan(
        tenant=broadcast.tenant,
        base=base,
        accepted_at=time.time(),
        request_id=broadcast.id,
        settle=True,
        broadcast=broadcast.id,
    )
    ident, topic = str(broadcast.id), broadcast.topic
    emails = (
        Numbered(index, broadcast_email_id(ident, one.id), email_to(broadcast.mail, one, broadcast.lane, topic))
        for index, one in enumerate(batch.recipients)
    )
    left = Left(reach.links, broadcast.tenant, broadcast.id, batch.left, broadcast=True)
    sign = reach.domains.signing(plan)
    return plan_parcels(plan, emails, frozenset(), new_id, sign=sign, left=left)
