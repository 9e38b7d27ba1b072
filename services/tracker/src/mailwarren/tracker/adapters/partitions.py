"""The daily partitions of the events table: made ahead, made when a day turns up, dropped when they are old."""

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from asyncpg import Connection, Record

log = structlog.get_logger()

AHEAD = 3
DAY = 86400
LOCK = 0x6D77_7061_7274_6974
"""Advisory lock key ("mwpartit"): one tracker at a time changes partitions."""
LOCK_TIMEOUT = "2s"
"""A partition change waits no longer than this, because everybody's inserts wait behind it."""

_CHILDREN = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'events'::regclass
"""
_MOVED = "WITH moved AS (DELETE FROM events_default WHERE at >= $1 AND at < $2 RETURNING *)"


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
                    await connection.execute(f"DROP TABLE IF EXISTS {_name(day)}")
                log.info("tracker.partition.dropped", day=str(day))
        await connection.execute("DELETE FROM events_default WHERE at < $1", _midnight(first))

    async def _stored(self, connection: "Connection[Record]") -> set[dt.date]:
        return {day for row in await connection.fetch(_CHILDREN) if (day := _day(row[0]))}


async def _make(connection: "Connection[Record]", day: dt.date) -> None:
    name, begin, end = _name(day), _midnight(day), _midnight(day + dt.timedelta(days=1))
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", name):
            return
        # Attaching a finished table lets inserts go on meanwhile, which CREATE TABLE … PARTITION OF does not.
        await connection.execute(f"CREATE TABLE {name} (LIKE events INCLUDING ALL)")
        await connection.execute("LOCK TABLE events_default IN ACCESS EXCLUSIVE MODE")
        await connection.execute(
            f"{_MOVED} INSERT INTO {name} SELECT * FROM moved",  # noqa: S608 - a name made of digits
            begin,
            end,
        )
        await connection.execute(
            f"ALTER TABLE events ATTACH PARTITION {name} FOR VALUES FROM ('{begin:%F %T%z}') TO ('{end:%F %T%z}')"
        )


def _name(day: dt.date) -> str:
    return f"events_{day:%Y%m%d}"


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
