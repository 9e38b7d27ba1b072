"""The consumer's loop: collect a batch, have it recorded, ack it."""

import asyncio
import time
import traceback
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass, field

import structlog

from mailwarren.contracts.codec import NewerVersion, Undecodable
from mailwarren.runtime.errors import report as report_error
from mailwarren.tracker import metrics
from mailwarren.tracker.domain.read import Message, Source, Work, read
from mailwarren.tracker.ports import Inbox
from mailwarren.tracker.record import Abandoned, Recorder
from mailwarren.tracker.told import trace_of

log = structlog.get_logger()

IDLE = 0.25
"""Seconds between looks at the stop signal while no message comes."""
LULL = 0.005
"""A batch does not wait longer than this for a next message: a single mail is readable at once."""
BUSY_LULL = 0.02
BUSY_ROWS = 10
"""A batch of so many rows waits longer, :data:`BUSY_LULL`: there is load, and a row costs least among many others."""
BATCH_OCTETS = 8 * 1024 * 1024
"""Of message bodies, at which a batch is full: decoded and on its way to Postgres it takes several times as much."""


@dataclass
class Batch:
    """Messages of one channel in their order, and what they ask for."""

    works: list[Work] = field(default_factory=list)
    unreadable: list[tuple[Message, str, str]] = field(default_factory=list)
    sources: Counter[Source] = field(default_factory=Counter)
    last: Message | None = None
    rows: int = 0
    octets: int = 0
    asked: bool = False
    newer: tuple[Message, str] | None = None
    """A message that ended the batch and is no part of it: only a newer version can read it, and this says why."""


class Consumer:
    """Takes messages from the inbox until it is stopped.

    Args:
        inbox: the queues.
        recorder: the ledger.
        limit: rows at which a batch is full.
        wait: seconds after its first message at which a batch is written as it is.
        ours: the names of the tracker's own queues.
        clock: Unix seconds.
    """

    def __init__(
        self,
        inbox: Inbox,
        recorder: Recorder,
        *,
        limit: int,
        wait: float,
        ours: Container[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._inbox = inbox
        self._recorder = recorder
        self._limit = limit
        self._wait = wait
        self._ours = ours
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; the batch at hand is finished and acked first."""
        while not stop.is_set():
            batch = await self.collect()
            if batch.last is not None:
                await self.finish(batch, batch.last)
            if batch.newer is not None:
                self._inbox.leave(*batch.newer)
            elif batch.last is None:
                await self._inbox.wait(IDLE)

    async def finish(self, batch: Batch, last: Message) -> None:
        """Record a batch and ack it, or leave it to the broker."""
        began = time.perf_counter()
        try:
            for message, kind, reason in batch.unreadable:
                await self._recorder.set_aside(message, kind, reason)
            await self._recorder.record(batch.works)
        except Abandoned:
            acked = False
        else:
            acked = await self._inbox.ack(last)
        if acked:
            seconds = time.perf_counter() - began
            metrics.record_acked(batch.sources, batch.rows, seconds)
            log.debug("tracker.batch.acked", messages=batch.sources.total(), rows=batch.rows, seconds=seconds)
        else:
            metrics.record_stale()
            log.info("tracker.batch.stale", messages=batch.sources.total())

    async def collect(self) -> Batch:
        """The messages that are there and those that come soon; an empty batch when there are none.

        Somebody waits for the answer to a question: a batch that has one takes only what is there.
        """
        loop = asyncio.get_running_loop()
        batch, until = Batch(), loop.time() + self._wait
        while batch.newer is None and batch.rows < self._limit and batch.octets < BATCH_OCTETS:
            message = self._inbox.pop()
            if message is None:
                left = until - loop.time()
                if batch.last is None or batch.asked or left <= 0:
                    break
                if batch.rows >= BUSY_ROWS:
                    # Not woken by each message.
                    await asyncio.sleep(min(left, BUSY_LULL))
                else:
                    await self._inbox.wait(min(left, LULL))
                message = self._inbox.pop()
                if message is None:
                    break
            if batch.last is not None and message.epoch != batch.last.epoch:
                # The channel is another: what came over the one before is delivered again.
                metrics.record_stale()
                batch = Batch()
            self._add(batch, message)
        return batch

    def _add(self, batch: Batch, message: Message) -> None:
        try:
            work = read(message, self._clock(), self._ours)
        except NewerVersion as error:
            batch.newer = message, str(error)
            return
        except Undecodable as error:
            batch.unreadable.append((message, "undecodable", str(error)))
        except Exception as error:  # noqa: BLE001 - a bug of ours that this message met holds up nobody else
            # Without its text, which may quote a mail.
            where = "".join(traceback.format_tb(error.__traceback__))
            kind, trace = type(error).__name__, trace_of(message)
            log.warning("tracker.message.surprise", queue=message.queue, trace_id=trace, error=kind, where=where)
            report_error("tracker.message.surprise", error, trace_id=trace)
            batch.unreadable.append((message, "undecodable", f"{type(error).__name__}: {error}"))
        else:
            batch.works.append(work)
            batch.asked = batch.asked or work.question is not None
            batch.rows += work.rows - 1
        batch.rows += 1
        batch.last = message
        batch.octets += len(message.body)
        batch.sources[message.source] += 1
