"""The use case of the scheduler: scheduled emails whose time has come → suppression → room → parcels → publish.

A row is taken with a lease that is committed before anything is published, and noted as released after the broker's
confirm. A crash in between, or a confirm that is lost, releases it once more under the same ids and partition. All
parcels ask the tracker before they are sent (``settle``), the first too: a second may be on its way to another sender.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import structlog

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Content
from mailwarren.contracts.routing import domain_of
from mailwarren.contracts.shards import shard_of
from mailwarren.ingest.adapters.broker import Broker, Said
from mailwarren.ingest.adapters.depths import Depths
from mailwarren.ingest.adapters.releases import Releases, Taken
from mailwarren.ingest.adapters.sending_domains import SendingDomains
from mailwarren.ingest.adapters.suppressions import Suppressions
from mailwarren.ingest.domain.admission import Marks, room_at_all, room_for
from mailwarren.ingest.domain.email import Numbered, SendEmail
from mailwarren.ingest.domain.list_mail import Left, by_topic
from mailwarren.ingest.domain.parcels import Plan, PlannedParcel, plan_parcels
from mailwarren.ingest.domain.scheduled import Kept, kept, whole_content
from mailwarren.ingest.domain.unsubscribe_links import Links
from mailwarren.ingest.metrics import record_accepted, record_no_room
from mailwarren.ingest.ops import metrics
from mailwarren.runtime.amqp import PublishError

log = structlog.get_logger()

AT_ONCE = 500
"""Rows taken at once from a lane: what the high lane may have to wait for."""
BYTES_AT_ONCE = 16 * 1024 * 1024
"""Contents in memory at once, about."""
PUBLISH_WITHIN = 15.0
"""Seconds in which publishes of a batch may start: well within the lease."""
PAUSE = 2.0
"""Seconds until a row is looked at again that the broker did not confirm."""
FULL_PAUSE = 15.0
"""The same for one whose queue is full: those behind it have their turn meanwhile."""
SHOW_EVERY = 5.0
"""Seconds between two looks at how it stands with all rows."""
SHOW_PAUSE = 20.0
"""Between them at least so many times what the last one took."""


class Item(NamedTuple):
    """An email on its way, and the row that it comes from."""

    row: Taken
    mail: Kept
    numbered: Numbered


class Unwanted(NamedTuple):
    """Addresses of a tenant's recipients that get nothing, and those that get nothing about a topic."""

    suppressed: frozenset[str]
    left: Mapping[UUID, frozenset[str]]


class NotTaken(PublishError):
    """Nothing of a batch was published; the rows are still due."""


class ScheduledMail:
    """The source of scheduled emails; any number of schedulers may have one each.

    Args:
        releases: their table.
        broker: where they go.
        depths: of its queues.
        marks: above which nothing more is published.
        suppressions: the list.
        domains: what mail is signed for, as it stands when it is released.
        links: to unsubscribe.
    """

    def __init__(
        self,
        releases: Releases,
        broker: Broker,
        depths: Depths,
        marks: Marks,
        suppressions: Suppressions,
        *,
        domains: SendingDomains,
        links: Links,
    ) -> None:
        self._releases = releases
        self._broker = broker
        self._depths = depths
        self._marks = marks
        self._suppressions = suppressions
        self._domains = domains
        self._links = links
        self._look_at = 0.0

    async def release(self) -> bool:
        """See :class:`mailwarren.ingest.scheduler.Source`."""
        if full := room_at_all(self._depths.state, self._marks):
            await self._show()
            raise NotTaken(full.message)
        if not self._domains.loaded:
            # Such mail might go unsigned.
            raise NotTaken(self._domains.trouble)
        more = False
        for lane in Lane:
            if held := await self._releases.hold(lane):
                log.warning("scheduler.mail.held", lane=lane.value, count=len(held), first=str(held[0]))
            if await self._release(lane) == AT_ONCE:
                more = True
        await self._show()
        return more

    async def _show(self) -> None:
        if time.monotonic() < self._look_at:
            return
        began = time.monotonic()
        self._look_at = began + SHOW_EVERY
        states = await self._releases.states()
        took = time.monotonic() - began
        self._look_at = began + max(SHOW_EVERY, took * SHOW_PAUSE)
        metrics.record_scheduled(states.waiting, states.held, states.next_due, states.late)

    async def _release(self, lane: Lane) -> int:
        """How many rows were due, and were released or put back."""
        rows = await self._releases.take(lane, AT_ONCE)
        for chunk in _chunks(rows):
            await self._release_chunk(lane, chunk)
        return len(rows)

    async def _release_chunk(self, lane: Lane, rows: Sequence[Taken]) -> None:
        mails = [kept(row.mail) for row in rows]
        bodies = await self._releases.bodies(list({row.content for row in rows}))
        # One object for all rows of a bulk call, which is what puts them into common parcels.
        contents: dict[UUID, Content] = {}
        for row, mail in zip(rows, mails, strict=True):
            if row.content not in contents:
                contents[row.content] = whole_content(mail, bodies[row.content])
        room = {index for index, mail in enumerate(mails) if self._room(lane, mail)}
        emails = [
            Item(row, mail, Numbered(index, row.id, _email(mail, contents[row.content], lane)))
            for index, (row, mail) in enumerate(zip(rows, mails, strict=True))
            if index in room
        ]
        unwanted = await self._unwanted(emails)
        if unwanted is None:
            await self._releases.put_back(rows, PAUSE, untouched=True)
            raise NotTaken("the suppression list could not be read")
        await self._releases.put_back(
            [row for index, row in enumerate(rows) if index not in room], FULL_PAUSE, untouched=True
        )
        await self._publish(emails, unwanted)

    def _room(self, lane: Lane, mail: Kept) -> bool:
        state = self._depths.state
        for recipient in mail.recipients:
            if full := room_for(lane, shard_of(domain_of(recipient.address)), state, self._marks):
                record_no_room(full.reason)
                return False
        return True

    async def _unwanted(self, emails: Sequence[Item]) -> dict[UUID, Unwanted] | None:
        """By tenant; None when it cannot be read."""
        tenants: dict[UUID, list[SendEmail]] = {}
        for item in emails:
            tenants.setdefault(item.row.tenant, []).append(item.numbered.email)
        found: dict[UUID, Unwanted] = {}
        for tenant, mails in tenants.items():
            asked = {recipient.key for email in mails for recipient in email.recipients}
            among = await self._suppressions.among(tenant, asked)
            left = await self._suppressions.left(tenant, by_topic(mails))
            if among is None or left is None:
                return None
            found[tenant] = Unwanted(among, left)
        return found

    async def _publish(self, emails: Sequence[Item], unwanted: dict[UUID, Unwanted]) -> None:
        said: dict[int, set[Said]] = {item.numbered.index: set() for item in emails}
        parcels = _planned(emails, unwanted, self._domains, self._links)
        for planned, what in await self._broker.publish(parcels, PUBLISH_WITHIN):
            for index in planned.indexes:
                said[index].add(what)
            if what is Said.CONFIRMED:
                deliveries = planned.parcel.deliveries
                out = sum(delivery.suppressed for delivery in deliveries)
                record_accepted(planned.parcel.lane.value, len(deliveries) - out, out)
        done: list[Taken] = []
        nowhere: list[Taken] = []
        unknown: list[Taken] = []
        for item in emails:
            found = said[item.numbered.index]
            if found == {Said.CONFIRMED}:
                done.append(item.row)
            else:
                (nowhere if found <= {Said.NOT_STORED, Said.UNROUTABLE} else unknown).append(item.row)
        await self._releases.released(done)
        await self._releases.put_back(nowhere, PAUSE, untouched=True)
        await self._releases.put_back(unknown, PAUSE, untouched=False)
        for row in done:
            metrics.record_scheduled_release(row.late)
        if emails:
            log.info("scheduler.mail.released", count=len(done), put_back=len(emails) - len(done))
        if emails and not done:
            raise NotTaken(f"the broker confirmed none of {len(emails)} scheduled emails")


def _chunks(rows: Sequence[Taken]) -> Iterator[Sequence[Taken]]:
    """The rows cut so that their contents are not too much at once."""
    start, size = 0, 0
    seen: set[UUID] = set()
    for index, row in enumerate(rows):
        more = 0 if row.content in seen else row.size
        if size + more > BYTES_AT_ONCE and index > start:
            yield rows[start:index]
            start, size, seen, more = index, 0, set(), row.size
        seen.add(row.content)
        size += more
    if rows:
        yield rows[start:]


def _email(mail: Kept, content: Content, lane: Lane) -> SendEmail:
    return SendEmail(
        content, mail.sender_domain, mail.recipients, lane, mail.expires_at, mail.on_unknown, topic=mail.topic
    )


def _planned(
    emails: Sequence[Item], unwanted: dict[UUID, Unwanted], domains: SendingDomains, links: Links
) -> Iterator[PlannedParcel]:
    """Parcels, by the calls that the emails came from."""
    now = time.time()
    calls: dict[UUID, list[Item]] = {}
    for item in emails:
        calls.setdefault(item.row.base, []).append(item)
    for found in calls.values():
        row, mail = found[0].row, found[0].mail
        plan = Plan(
            tenant=row.tenant,
            base=row.base,
            accepted_at=now,
            request_id=row.base if mail.bulk else None,
            settle=True,
            trace=mail.trace,
            created_at=row.created_at.timestamp(),
        )
        numbered, out = [item.numbered for item in found], unwanted[row.tenant]
        left = Left(links, row.tenant, row.base, out.left)
        sign = domains.signing(plan)
        yield from plan_parcels(plan, numbered, out.suppressed, new_id, sign=sign, left=left)
