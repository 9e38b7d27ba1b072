"""Writes down what came of tries, many at once, for as long as it takes."""

import asyncio
from collections.abc import Sequence

import structlog

from mailwarren.store.engine import AWAY, database_trouble
from mailwarren.tracker.adapters.kept import Kept
from mailwarren.tracker.adapters.store import Blame, blame
from mailwarren.tracker.adapters.webhook_queue import Result, write_results
from mailwarren.tracker.adapters.webhook_upkeep import GivenUp
from mailwarren.tracker.webhooks import metrics
from mailwarren.tracker.webhooks.told import tell_given_up

log = structlog.get_logger()

AT_ONCE = 500
FIRST_PAUSE = 0.2
LAST_PAUSE = 5.0
GRACE = 10.0
"""Seconds for which a process that stops tries to write: then the leases run out, and others try the events again."""

_Waiting = tuple[Result, "asyncio.Future[None]"]


class Results:
    """Results on their way into the database."""

    def __init__(self, connection: Kept) -> None:
        self._connection = connection
        self._waiting: list[_Waiting] = []
        self._some = asyncio.Event()
        self.stopping = False
        """Set by who stops the process: nothing is waited for without end any more."""
        self.trouble: str | None = None
        """Why the database did not take the last of them; None when it did."""

    async def put(self, result: Result) -> None:
        """Return when the result is written, or given up."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((result, done))
        self._some.set()
        await done

    async def run(self, end: asyncio.Event) -> None:
        """Write until ``end`` is set, by who puts no more; what waits is written first."""
        while not end.is_set() or self._waiting:
            if not self._waiting:
                self._some.clear()
                ending = asyncio.create_task(end.wait())
                some = asyncio.create_task(self._some.wait())
                await asyncio.wait({ending, some}, return_when=asyncio.FIRST_COMPLETED)
                ending.cancel()
                some.cancel()
                continue
            batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            await self._finish(batch)

    async def _finish(self, batch: Sequence[_Waiting]) -> None:
        await self._write([result for result, _ in batch])
        for _, done in batch:
            if not done.done():
                done.set_result(None)

    async def _write(self, results: Sequence[Result]) -> None:
        pause, waited = FIRST_PAUSE, 0.0
        while waited < GRACE or not self.stopping:
            try:
                async with self._connection.use() as connection:
                    given_up = await write_results(connection, results)
            except AWAY as error:
                if blame(error) is Blame.DATA:
                    await self._sift(results, error)
                    return
                self._tell(database_trouble(error))
                metrics.record_write_retry()
                log.warning("webhooks.results.retry", error=self.trouble, results=len(results), retry_in=pause)
            else:
                self._tell(None)
                _count(results, given_up)
                return
            await asyncio.sleep(pause)
            waited, pause = waited + pause, min(2 * pause, LAST_PAUSE)
        metrics.record_lost(len(results))
        log.warning("webhooks.results.lost", results=len(results))

    async def _sift(self, results: Sequence[Result], error: Exception) -> None:
        """One of them is refused, and never will be taken: all others are written."""
        if len(results) == 1:
            metrics.record_lost(1)
            of = results[0].of
            log.error(
                "webhooks.results.refused", webhook=str(of.endpoint), event_id=str(of.id), error=type(error).__name__
            )
            return
        middle = len(results) // 2
        await self._write(results[:middle])
        await self._write(results[middle:])

    def _tell(self, trouble: str | None) -> None:
        self.trouble = trouble
        metrics.record_database(up=trouble is None)


def _count(results: Sequence[Result], given_up: Sequence[GivenUp]) -> None:
    for result in results:
        if result.wait is None:
            metrics.record_end(result.state)
    tell_given_up(given_up)
