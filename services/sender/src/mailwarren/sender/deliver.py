"""What a sender does with a parcel (DESIGN §4, stop 7): settle what may be done already, deliver the rest, report.

:class:`Deliverer` holds the rules of order: an outcome is confirmed by the broker before the parcel is acked, a
deferral is on the ladder before the parcel is acked, and nothing writes mail data for a parcel that is no longer ours.
"""

import asyncio
import time
import traceback
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any

import structlog
from msgspec.structs import replace

from mailwarren.contracts.codec import NewerVersion, Undecodable, decode_parcel, encode_parcel, parcel_headers
from mailwarren.contracts.events import Kind
from mailwarren.contracts.ladder import Ladder
from mailwarren.contracts.parcel import Delivery, OnUnknown, Parcel, Wait
from mailwarren.runtime import tracing
from mailwarren.runtime.room import Room
from mailwarren.runtime.traceparent import trace_id_of
from mailwarren.sender import metrics
from mailwarren.sender.adapters.blobs import BlobMissing, Blobs, BlobsAway
from mailwarren.sender.adapters.control_log import ControlLog
from mailwarren.sender.adapters.dkim_keys import KeysAway
from mailwarren.sender.adapters.ladder import LadderWriter, Stale
from mailwarren.sender.adapters.outcomes import OutcomeWriter
from mailwarren.sender.attached import Attached, Stopping
from mailwarren.sender.copies import Copies
from mailwarren.sender.deferrals import Deferrals, Shaped, WithoutFiles
from mailwarren.sender.events import make_event
from mailwarren.sender.incoming import Finish, Incoming
from mailwarren.sender.reports import Reports
from mailwarren.sender.settle import Settler
from mailwarren.sender.shaping.shaper import Shaper, SlowSite
from mailwarren.sender.signing.mails import Signer, Signing
from mailwarren.sender.slots import Slots
from mailwarren.sender.suspects import Insurance, Suspects, count_of, is_suspect, setback_headers
from mailwarren.sender.told import describe, tell_attempt
from mailwarren.sender.transmit import Permit, Transmitter, Tried, Withdrawn

log = structlog.get_logger()

OPEN_BYTES = 16 * 2**20
"""Bodies of the parcels that are open at once; the others of the prefetch wait as they came."""


class HandedBack(Enum):
    """A delivery that was not tried because its parcel goes back to the broker."""

    HANDED_BACK = "handed back"


Ended = Tried | Shaped | WithoutFiles | HandedBack | None
"""What is left to be done for a delivery: its next attempt, its wait for limits or for files, all of it, or nothing."""


class Deliverer:
    """Finishes parcels.

    Args:
        slots: bounds the deliveries worked on at once in this process.
        suspects: takes the parcels that may kill senders.
        shaper: holds those whose site is slow.

    Attributes:
        ended: deliveries that have come to an end or a deferral.
    """

    def __init__(
        self,
        *,
        outcomes: OutcomeWriter,
        ladder_writer: LadderWriter,
        control: ControlLog,
        settler: Settler,
        transmitter: Transmitter,
        ladder: Ladder,
        slots: Slots,
        shaper: Shaper,
        suspects: Suspects,
        blobs: Blobs,
        signer: Signer,
    ) -> None:
        self.ended = 0
        self._shaper = shaper
        self._outcomes = outcomes
        self._ladder_writer = ladder_writer
        self._control = control
        self._settler = settler
        self._transmitter = transmitter
        self._ladder = ladder
        self._slots = slots
        self._suspects = suspects
        self._room = Room(OPEN_BYTES)
        self._copies = Copies()
        self._deferrals = Deferrals(
            outcomes, ladder_writer, ladder, self._copies, sender=suspects.sender, control=control
        )
        self._attached = Attached(blobs, slots)
        self._signer = signer

    async def finish(self, incoming: Incoming) -> Finish:
        """Do all that the parcel needs now; whatever comes back is safe to do at once."""
        size = len(incoming.body)
        await self._room.enter(size)
        try:
            return await self._finish(incoming)
        except Stale:
            return Finish.STALE
        finally:
            self._room.leave(size)

    async def _finish(self, incoming: Incoming) -> Finish:
        if incoming.stopping():
            return Finish.REQUEUE
        if not incoming.owned():
            return Finish.STALE
        try:
            parcel = decode_parcel(incoming.body, incoming.headers)
        except NewerVersion:
            await self._ladder_writer.put_unread(
                incoming.body, incoming.headers, queue=incoming.queue, owned=incoming.owned
            )
            return Finish.ACK
        except Undecodable as error:
            return await self._park(incoming, "undecodable", f"undecodable: {error}")
        # Every message has a task, and so a context, of its own.
        structlog.contextvars.bind_contextvars(
            trace_id=trace_id_of(parcel.trace), parcel_id=str(parcel.id), lane=str(parcel.lane)
        )
        try:
            finish = await self._finish_parcel(parcel, incoming)
        except Stale:
            finish = Finish.STALE
        except Exception as error:
            # Ours, not the recipient's: a person looks at it, nobody is told that the mail bounced.
            log.exception("sender.parcel.error")
            return await self._park(incoming, "error", f"{type(error).__name__}: {error}", setback_headers(parcel))
        metrics.record_parcel(parcel.lane, finish.value)
        log.debug("sender.parcel.finished", attempt=parcel.attempt, finish=finish.value)
        return finish

    async def _park(
        self, incoming: Incoming, kind: str, reason: str, more: Mapping[str, Any] = MappingProxyType({})
    ) -> Finish:
        metrics.record_parked(kind)
        log.warning("sender.message.parked", reason=reason)
        await self._ladder_writer.park(
            incoming.body,
            {**incoming.headers, **more},
            queue=incoming.queue,
            key=incoming.key,
            reason=reason,
            owned=incoming.owned,
        )
        return Finish.ACK

    async def _finish_parcel(self, parcel: Parcel, incoming: Incoming) -> Finish:
        remaining = (parcel.not_before or 0.0) - time.time()
        if parcel.not_before is not None and self._ladder.next_rung(remaining) is not None:
            await self._ladder_writer.put(replace(parcel, wait=Wait.HOP), remaining, incoming.owned)
            return Finish.ACK
        with tracing.span("mail.send process", parcel.trace, "consumer") as span:
            if span.traceparent != parcel.trace:
                describe(span, parcel, incoming)
                parcel = replace(parcel, trace=span.traceparent)
            finish = await self._work(parcel, incoming)
            span.tell(mailwarren__finish=finish.value)
        return finish

    async def _work(self, parcel: Parcel, incoming: Incoming) -> Finish:
        if self._suspects.must_split(parcel, incoming):
            return await self._suspects.split(parcel, incoming)
        await self._control.wait_read()
        deliveries = [one for one in parcel.deliveries if not one.suppressed]
        met = await self._copies.wait_free([(one.id, parcel.attempt) for one in deliveries])
        deliveries = [one for one in deliveries if not self._copies.finished((one.id, parcel.attempt))]
        with self._copies.reserve([(one.id, parcel.attempt) for one in deliveries]):
            if deliveries and (met or self._may_have_been_tried(parcel, incoming)):
                deliveries = await self._settle(parcel, deliveries, incoming)
            try:
                if deliveries and is_suspect(parcel, incoming):
                    return await self._suspects.finish(parcel, deliveries, incoming, self._deliver)
                return await self._deliver(parcel, deliveries, incoming)
            except KeysAway as error:
                await self._deferrals.wait_for_keys(incoming.counted(parcel), deliveries, str(error), incoming.owned)
                return Finish.ACK

    async def _settle(self, parcel: Parcel, deliveries: list[Delivery], incoming: Incoming) -> list[Delivery]:
        """Do what the tracker's answers ask for; returns what is to be sent."""
        settled = await self._settler.settle(parcel, deliveries, count_of(parcel, incoming), incoming.owned)
        if settled.put_back is not None:
            # The broker counts anew for what is put back, and a parcel that kills senders must not go round for ever.
            counted = replace(settled.put_back, returned=parcel.returned + incoming.count)
            await self._ladder_writer.put(counted, settled.wait, incoming.owned)
        await asyncio.gather(*(self._outcomes.report(parcel.partition, event) for event in settled.events))
        return settled.untouched

    @staticmethod
    def _may_have_been_tried(parcel: Parcel, incoming: Incoming) -> bool:
        return incoming.count > 0 or parcel.attempt > 1 or parcel.settle or parcel.turn > 0 or parcel.returned > 0

    async def _deliver(
        self, parcel: Parcel, deliveries: list[Delivery], incoming: Incoming, insurance: Insurance | None = None
    ) -> Finish:
        domain = parcel.content.signing
        signing = await self._signer.sign_for(parcel.tenant, domain) if domain is not None and deliveries else None
        reports = Reports()
        permit = self._permit(parcel, incoming, insurance, signing)
        ended, handed_back = await self._deliver_all(parcel, deliveries, incoming, permit, reports)
        for delivery in await reports.confirmed():
            self._copies.finish((delivery.id, parcel.attempt))
        for one in ended:
            if isinstance(one, BaseException):
                raise one
        self.ended += len(ended)
        deferred = [one for one in ended if isinstance(one, Tried)]
        if deferred:
            await self._deferrals.defer(parcel, deferred, incoming.owned)
        if not incoming.owned():
            return Finish.STALE
        if handed_back or HandedBack.HANDED_BACK in ended:
            return Finish.REQUEUE
        shaped = [one for one in ended if isinstance(one, Shaped)]
        if shaped:
            await self._deferrals.shape(parcel, shaped, incoming.owned)
        without = [one for one in ended if isinstance(one, WithoutFiles)]
        if without:
            await self._deferrals.wait_for_files(incoming.counted(parcel), without, incoming.owned)
        return Finish.ACK

    async def _deliver_all(
        self, parcel: Parcel, deliveries: list[Delivery], incoming: Incoming, permit: Permit, reports: Reports
    ) -> tuple[list[Ended | BaseException], bool]:
        """How each delivery ended, and whether some were not begun because the parcel goes back."""
        tasks: list[asyncio.Task[Ended]] = []
        free = 0
        for number, delivery in enumerate(deliveries):
            if not free:
                free = await self._slots.take(len(deliveries) - number)
            if not incoming.owned() or incoming.stopping():
                self._slots.give(free)
                break
            free -= 1
            sending = self._deliver_one(parcel, delivery, incoming, permit, reports)
            if len(deliveries) == 1:
                return [await sending], False  # a task for one, as most parcels of single posts, is not needed
            tasks.append(asyncio.create_task(sending))
        # All are awaited, also when one finds the parcel stale: what is past its final dot is finished and reported.
        return [await _ended(task) for task in tasks], len(tasks) < len(deliveries)

    async def _deliver_one(
        self, parcel: Parcel, delivery: Delivery, incoming: Incoming, permit: Permit, reports: Reports
    ) -> Ended:
        """One delivery to its end or its deferral; returns what is to be put on the ladder, or goes back."""
        working, since, turn = True, 0.0, False
        try:
            event = self._deferrals.ended(parcel, delivery)
            while event is None:
                try:
                    with tracing.span("smtp attempt", parcel.trace, "client") as span:
                        tried = await self._transmit(parcel, delivery, incoming, permit, turn=turn)
                        if isinstance(tried, Tried):
                            tell_attempt(span, tried)
                except Withdrawn:
                    event = self._deferrals.ended(parcel, delivery)
                    continue
                except SlowSite as slow:
                    # Others are worked on meanwhile.
                    self._slots.give()
                    working, since = False, since or asyncio.get_running_loop().time()
                    found = await self._wait(slow, parcel, delivery, incoming, permit=permit, since=since)
                    if not isinstance(found, bool):
                        return found
                    working, turn = True, found
                    event = self._deferrals.ended(parcel, delivery)
                    continue
                if not isinstance(tried, Tried) or tried.kind is Kind.DEFERRED:
                    return tried
                event = make_event(
                    parcel, delivery, tried.kind, tried=tried.attempt, reason=tried.reason, suppress=tried.suppress,
                    trace=span.traceparent,
                )  # fmt: skip
            reports.add(delivery, self._outcomes.post(parcel.partition, event))
        finally:
            if working:
                self._slots.give()
        return None

    async def _wait(
        self, slow: SlowSite, parcel: Parcel, delivery: Delivery, incoming: Incoming, *, permit: Permit, since: float
    ) -> bool | Shaped | HandedBack:
        """Wait for a slow site: whether it is the mail's turn now, with a slot taken anew, or what becomes of it.

        Raises:
            Stale: the parcel is not ours any more.
        """

        def still() -> bool:
            return incoming.owned() and not incoming.stopping() and permit.wanted(delivery)

        async def resume() -> None:
            await self._slots.take(1)

        found = await self._shaper.wait(
            slow,
            parcel,
            incoming,
            still=still,
            resume=resume,
            since=since,
            until=self._deferrals.deadline(parcel),
        )
        if not isinstance(found, bool):
            return Shaped(delivery, slow.site, found)
        if incoming.owned() and not incoming.stopping():
            return found
        self._slots.give()
        if incoming.stopping():
            return HandedBack.HANDED_BACK
        raise Stale

    def _permit(
        self, parcel: Parcel, incoming: Incoming, insurance: Insurance | None, signing: Signing | None
    ) -> Permit:
        until = self._deferrals.deadline(parcel)

        async def begin(delivery: Delivery) -> None:
            await self._outcomes.report(parcel.partition, make_event(parcel, delivery, Kind.STARTED))

        def wanted(delivery: Delivery) -> bool:
            return (
                not self._control.is_withdrawn(parcel, delivery)
                and not self._control.is_unwanted(parcel, delivery)
                and time.time() < until
            )

        return Permit(
            incoming.owned,
            wanted,
            None if parcel.on_unknown is OnUnknown.RESEND else begin,
            None if insurance is None else insurance.take,
            self._attached.opener(parcel, incoming),
            signing,
        )

    async def _transmit(
        self, parcel: Parcel, delivery: Delivery, incoming: Incoming, permit: Permit, *, turn: bool
    ) -> Ended:
        try:
            return await self._transmitter.transmit(parcel, delivery, permit, turn=turn)
        except (Stale, Withdrawn, SlowSite):
            raise
        except Stopping:
            return HandedBack.HANDED_BACK
        except BlobsAway as error:
            return WithoutFiles(delivery, str(error))
        except BlobMissing as error:
            return Tried(delivery, Kind.FAILED, reason=str(error))
        except Exception as error:
            # Ours, not the recipient's: this delivery waits for a person, its neighbours go on.
            log.exception("sender.delivery.error", delivery_id=str(delivery.id))
            alone = replace(parcel, deliveries=(delivery,))
            await self._park_parcel(
                alone, incoming, f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-8)}"
            )
            return None

    async def _park_parcel(self, parcel: Parcel, incoming: Incoming, reason: str) -> None:
        metrics.record_parked("error")
        await self._ladder_writer.park(
            encode_parcel(parcel),
            {**parcel_headers(parcel), **setback_headers(parcel)},
            queue=incoming.queue,
            key=incoming.key,
            reason=reason,
            owned=incoming.owned,
        )


async def _ended(task: asyncio.Task[Ended]) -> Ended | BaseException:
    """How a task ended. One after the other: gather() calls back for each of them."""
    try:
        return await task
    except Exception as error:  # noqa: BLE001 - it is raised when all have ended
        return error
