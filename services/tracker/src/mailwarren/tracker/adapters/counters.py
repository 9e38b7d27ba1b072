"""The counters of ``email_metrics``, added to in the transaction that changes what they count."""

from typing import TYPE_CHECKING

from mailwarren.contracts.counters import COUNTERS, QUARTER
from mailwarren.store.recount import DRIFT
from mailwarren.tracker.adapters.rows import columns, moment
from mailwarren.tracker.domain.counting import Steps

if TYPE_CHECKING:
    from asyncpg import Connection, Record

_NAMES = ", ".join(COUNTERS)
_ARRAYS = ", ".join(f"${number}::int8[]" for number in range(5, 5 + len(COUNTERS)))
_SUMS = ", ".join(f"{name} = m.{name} + excluded.{name}" for name in COUNTERS)
# In one order, as all rows that several trackers may write: they wait for each other in a line, never in a circle.
_ADD = f"""
INSERT INTO email_metrics AS m (tenant, quarter, domain, broadcast, {_NAMES})
SELECT tenant, to_timestamp(quarter), domain, broadcast, {_NAMES}
FROM unnest($1::uuid[], $2::float8[], $3::text[], $4::uuid[], {_ARRAYS})
  AS t (tenant, quarter, domain, broadcast, {_NAMES})
ORDER BY tenant, quarter, domain, broadcast
ON CONFLICT (tenant, quarter, domain, broadcast) DO UPDATE SET {_SUMS}
"""  # noqa: S608 - constants


async def add_steps(connection: "Connection[Record]", steps: Steps) -> None:
    """Add them, inside of the transaction that writes the deliveries."""
    if steps:
        rows = ((*place, *row) for place, row in steps.items())
        await connection.execute(_ADD, *columns(rows, 4 + len(COUNTERS)))


async def drift(connection: "Connection[Record]", since: float, until: float, limit: int = 100) -> "list[Record]":
    """The counters that say other than a recount of deliveries and events, between two moments (Unix seconds).

    Whole quarters, begun at ``since`` or later and over by ``until``. A look at every delivery of that time.
    """
    first, last = (moment(at // QUARTER * QUARTER) for at in (since, until))
    return list(await connection.fetch(DRIFT, first, last, limit))
