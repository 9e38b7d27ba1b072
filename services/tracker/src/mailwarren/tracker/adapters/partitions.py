"""The daily partitions of the events table: made ahead, made when a day turns up, dropped when they are old.

Both are done by functions in the database, with its owner's rights (``docs/adr/0020``).
"""

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from asyncpg import Connection, Record

log = structlog.get_logger()

AHEAD = 3
DAY = 86400
LOCK_TIMEOUT = "2s"
"""A partition change waits no longer than this, because everybody's inserts wait behind it."""

_CHILDREN = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'events'::regclass
"""


class Partitions:
    """What is known of the partitions, and changes to them.

    Args:
        retention_days: a day's events are dropped when it ended longer ago than this. Events of days that are older
            or too far ahead (a wrong clock) stand in ``events_default``, so that nobody can make a thousand tables.
    """

    def __init__(self, retention_days: int) -> None:
        self._retention = retention_days
        self._days: set[dt.date] | None = None
        self._not_before = 0.0

    @property
    def retention_days(self) -> int:
        """Days that events are kept."""
        return self._retention

    def missing(self, times: Iterable[float], now: float) -> set[dt.date]:
        """The days of ``times`` that need a partition; Unix seconds."""
        if now < self._not_before:
            return set()
        today = int(now // DAY)
        allowed = range(today - self._retention, today + AHEAD + 1)
        days = {_date(day) for day in {int(at // DAY) for at in times} if day in allowed}
        return days - (self._days or set())

    def ahead(self, now: float) -> set[dt.date]:
        """Today and the days that are made ahead of time."""
        today = int(now // DAY)
        return {_date(day) for day in range(today, today + AHEAD + 1)}

    async def make(self, connection: "Connection[Record]", days: Iterable[dt.date], now: float) -> None:
        """Make those partitions that do not exist. Without luck the events go to ``events_default`` for a minute."""
        from asyncpg import PostgresError

        self._days = await self._stored(connection)
        for day in sorted(set(days) - self._days):
            try:
                await _make(connection, day)
            except PostgresError as error:
                self._not_before = now + 60
                log.warning("tracker.partition.failed", day=str(day), error=f"{type(error).__name__}: {error}")
                return
            self._days.add(day)
            log.info("tracker.partition.made", day=str(day))

    async def drop_old(self, connection: "Connection[Record]", now: float) -> None:
        """Drop what is past its retention.

        Raises:
            asyncpg.PostgresError: the table is busy; the next round tries again.
        """
        first = _date(int(now // DAY) - self._retention)
        for day in sorted(await self._stored(connection)):
            if day < first:
                async with connection.transaction():
                    await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                    await connection.execute("SELECT drop_events_partition($1)", day)
                log.info("tracker.partition.dropped", day=str(day))
        await connection.execute("DELETE FROM events_default WHERE at < $1", _midnight(first))

    async def _stored(self, connection: "Connection[Record]") -> set[dt.date]:
        return {day for row in await connection.fetch(_CHILDREN) if (day := _day(row[0]))}


async def _make(connection: "Connection[Record]", day: dt.date) -> None:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        await connection.execute("SELECT make_events_partition($1)", day)


def _day(name: str) -> dt.date | None:
    """The day of a partition of ours, None for any other table."""
    try:
        return dt.datetime.strptime(name, "events_%Y%m%d").date()  # noqa: DTZ007 - a name, not a time
    except ValueError:
        return None


def _date(day: int) -> dt.date:
    return dt.date(1970, 1, 1) + dt.timedelta(days=day)


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)
