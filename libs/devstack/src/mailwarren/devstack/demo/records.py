"""What Postgres says about one run: states while it goes on, every row at its end. Reads only."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
from sqlalchemy.exc import SQLAlchemyError

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.demo.ledger import ENDS, Entry
from mailwarren.devstack.demo.mails import RUN
from mailwarren.devstack.errors import DevstackError
from mailwarren.store.engine import driver_connect, make_engine

if TYPE_CHECKING:
    from asyncpg import Record

UNREADABLE = (OSError, TimeoutError, SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What a read raises while Postgres is away."""

_STATES = """
SELECT lane, state, count(*) AS count, count(*) FILTER (WHERE accepted_at IS NOT NULL) AS known
FROM deliveries WHERE email_id = ANY($1::uuid[]) GROUP BY lane, state
"""
_ENTRY = """
SELECT d.id, d.email_id, d.address, d.lane, d.state, d.attempt, d.accepted_at,
       concat_ws(' ', d.reply_code, d.reply_enhanced, d.reply_text, d.trouble) AS last, e.message_id
FROM deliveries d LEFT JOIN emails e ON e.id = d.email_id
"""
_BY_ID = f"{_ENTRY} WHERE d.email_id = ANY($1::uuid[])"
# An hour's margin: the API's clock need not be this machine's.
_NOT_ASKED_FOR = f"""{_ENTRY}
WHERE e.metadata ->> $4 = $1 AND e.created_at > $2::timestamptz - interval '1 hour'
  AND NOT e.id = ANY($3::uuid[])
"""
_OF_OTHERS = "SELECT id FROM emails WHERE id = ANY($1::uuid[]) AND metadata ->> $3 IS DISTINCT FROM $2"
_TIMES = """
SELECT lane, count(*) AS count, max(ended_at) AS last,
       percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY extract(epoch FROM ended_at - accepted_at))
         FILTER (WHERE state = 'delivered') AS seconds
FROM deliveries WHERE email_id = ANY($1::uuid[]) GROUP BY lane
"""


@dataclass(slots=True)
class States:
    """Deliveries by lane and state; ``ended``: those with an end, whose acceptance is recorded too."""

    lanes: dict[Lane, Counter[str]] = field(default_factory=lambda: {lane: Counter() for lane in Lane})
    ended: Counter[Lane] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Times:
    """How long a lane took: seconds from acceptance to delivery (median and 95th percentile), Unix time of its end."""

    median: float | None
    most: float | None
    last: float | None


class Records:
    """The tables of one system.

    Args:
        database_url: of Postgres.
        tag: the metadata entry that names a run.
    """

    def __init__(self, database_url: str, *, tag: str = RUN) -> None:
        self._tag = tag
        self._engine = make_engine(database_url, pool_size=2, max_overflow=0, application_name="mailwarren-demo")

    async def close(self) -> None:
        """Close the connections."""
        await self._engine.dispose()

    async def check(self) -> None:
        """Return when the tables can be read.

        Raises:
            DevstackError: they can't.
        """
        try:
            await self.states([])
        except UNREADABLE as error:
            raise DevstackError(f"Postgres (MAILWARREN_DATABASE_URL) cannot be read: {error}") from error

    async def states(self, ids: Sequence[UUID]) -> States:
        """How far the deliveries of these emails are."""
        found = States()
        for row in await self._fetch(_STATES, ids):
            lane = Lane(row["lane"])
            found.lanes[lane][row["state"]] += row["count"]
            if row["state"] in ENDS:
                found.ended[lane] += row["known"]
        return found

    async def entries(self, ids: Sequence[UUID], run: str, since: datetime) -> list[Entry]:
        """Every row of these emails, and any other row of the run."""
        rows = await self._fetch(_BY_ID, ids)
        rows += await self._fetch(_NOT_ASKED_FOR, run, since, ids, self._tag)
        return [_entry(row) for row in rows]

    async def of_others(self, ids: Iterable[UUID], run: str) -> set[UUID]:
        """Which of these emails belong to another run, or to no demo at all."""
        return {row["id"] for row in await self._fetch(_OF_OTHERS, list(ids), run, self._tag)}

    async def times(self, ids: Sequence[UUID]) -> dict[Lane, Times]:
        """How long it took, by lane."""
        return {Lane(row["lane"]): _times(row) for row in await self._fetch(_TIMES, ids)}

    async def _fetch(self, query: str, *arguments: object) -> "list[Record]":
        async with driver_connect(self._engine) as connection:
            return list(await connection.fetch(query, *arguments))


def _entry(row: "Record") -> Entry:
    return Entry(
        id=row["id"],
        email_id=row["email_id"],
        address=row["address"],
        lane=row["lane"],
        state=row["state"],
        message_id=row["message_id"] or "" if row["accepted_at"] else "",
        attempt=row["attempt"],
        last=row["last"],
    )


def _times(row: "Record") -> Times:
    median, most = row["seconds"] or (None, None)
    return Times(median, most, row["last"].timestamp() if row["last"] else None)
