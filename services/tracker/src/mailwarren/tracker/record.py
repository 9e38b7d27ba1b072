"""One batch into the ledger, whatever happens: repeated while the database is away, taken apart when it refuses.

Nothing is requeued and nothing overtakes: while a batch waits, everything behind it waits too.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from mailwarren.runtime.amqp import PublishError
from mailwarren.tracker import metrics
from mailwarren.tracker.domain.read import Message, Source, Work
from mailwarren.tracker.domain.split import split
from mailwarren.tracker.ports import Ledger, Outbox, Recorded, Refused, Unavailable
from mailwarren.tracker.told import tell_recorded, trace_of

log = structlog.get_logger()

FIRST_PAUSE = 0.2
LAST_PAUSE = 5.0


class Abandoned(Exception):
    """The batch is left to the broker: its channel is gone, or the process stops while the database is away."""


class Recorder:
    """Writes batches, answers their questions, and sets aside what cannot be written.

    Args:
        ledger: where batches go.
        outbox: for answers and dead letters.
        abandon: asked before every repetition, with a message of the batch; true gives the batch up.
    """

    def __init__(self, ledger: Ledger, outbox: Outbox, abandon: Callable[[Message], bool]) -> None:
        self._ledger = ledger
        self._outbox = outbox
        self._abandon = abandon
        self.trouble: str | None = None
        """Why the database did not take the last batch; None when it did."""

    async def record(self, works: Sequence[Work]) -> None:
        """Return when everything is committed or set aside, and the questions are answered.

        Raises:
            Abandoned: some of it is not; none of it may be acked.
        """
        if not works:
            return
        try:
            await self._commit(works)
        except Refused as error:
            if len(works) == 1:
                for work, reason in await self._sift(works[0], str(error)):
                    await self.set_aside(work.message, "refused", reason)
                return
            middle = len(works) // 2
            await self.record(works[:middle])
            await self.record(works[middle:])

    async def _sift(self, work: Work, reason: str) -> list[tuple[Work, str]]:
        """Record all of a refused message but the events or deliveries that are refused: those, with their reasons.

        What is refused wholly stays in one piece: fifty deliveries of a bad content are one dead letter.
        """
        parts = split(work)
        if parts is None:
            return [(work, reason)]
        refused: list[tuple[Work, str]] = []
        for part in parts:
            try:
                await self._commit([part])
            except Refused as error:
                refused += await self._sift(part, str(error))
        return [(work, reason)] if [part for part, _ in refused] == list(parts) else refused

    async def _commit(self, works: Sequence[Work]) -> None:
        began = time.time_ns()
        recorded = await self._write(works)
        metrics.record_batch(recorded)
        tell_recorded(works, began)
        # After the commit and before the ack: an answer tells what is certain, and is given again after a crash.
        await asyncio.gather(*(self._outbox.answer(question, answer) for question, answer in recorded.answers))

    async def set_aside(self, message: Message, kind: str, reason: str) -> None:
        """Return when a message is safe in ``mail.dead``.

        What came from there is only counted: the original still is in ``mail.dead``.

        Args:
            message: as it came.
            kind: ``undecodable`` or ``refused``.
            reason: for the people who will look at it; may quote the message, so it is not logged.

        Raises:
            Abandoned: it is not certain that it is there.
        """
        log.warning(
            "tracker.message.set_aside",
            queue=message.queue,
            kind=kind,
            parcel_id=message.headers.get("id"),
            trace_id=trace_of(message),
        )
        if message.source is not Source.DEAD:
            pause = FIRST_PAUSE
            while True:
                try:
                    await self._outbox.set_aside(message, f"{kind}: {reason}")
                    break
                except PublishError as error:
                    log.warning("tracker.message.not_set_aside", queue=message.queue, error=str(error))
                await self._pause(pause, message)
                pause = min(pause * 2, LAST_PAUSE)
        metrics.record_set_aside(message.source, kind)

    async def _write(self, works: Sequence[Work]) -> Recorded:
        pause = FIRST_PAUSE
        while True:
            try:
                recorded = await self._ledger.record(works)
            except Unavailable as error:
                self._tell(str(error))
                metrics.record_retry()
                log.warning("tracker.batch.retry", error=str(error), messages=len(works), retry_in=pause)
            else:
                self._tell(None)
                return recorded
            await self._pause(pause, works[0].message)
            pause = min(pause * 2, LAST_PAUSE)

    def _tell(self, trouble: str | None) -> None:
        self.trouble = trouble
        metrics.record_database(up=trouble is None)

    async def _pause(self, seconds: float, message: Message) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while not self._abandon(message):
            left = until - loop.time()
            if left <= 0:
                return
            await asyncio.sleep(min(left, FIRST_PAUSE))
        raise Abandoned
