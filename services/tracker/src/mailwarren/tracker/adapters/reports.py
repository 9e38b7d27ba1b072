"""Reports into the tables: what they change of their deliveries, and the events themselves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from mailwarren.tracker.adapters import deliveries, events
from mailwarren.tracker.domain.fold import Report, doubtful, fold
from mailwarren.tracker.domain.status import Status
from mailwarren.tracker.domain.suppression import suppression_of
from mailwarren.tracker.ports import Recorded

if TYPE_CHECKING:
    from asyncpg import Connection, Record


async def write_reports(
    connection: "Connection[Record]", reports: Sequence[Report], known: dict[UUID, Status], *, into: Recorded
) -> None:
    """Write what is new.

    Args:
        connection: inside of a transaction that holds the rows of the deliveries.
        reports: each event once.
        known: the stored status of every delivery reported; afterwards as it is then.
        into: gets what was new.
    """
    seen = await events.seen(connection, doubtful(reports, known))
    folded = fold(reports, known, seen)
    await deliveries.write_changes(connection, folded.changes, known)
    news = [report for report in reports if report.event.id not in seen]
    written = await events.write_events(connection, news)
    into.events = [report.event for report in news if report.event.id in written]
    into.delivered = folded.delivered
    into.repeated = len(reports) - len(into.events)
    await events.write_suppressions(connection, filter(None, map(suppression_of, into.events)))
    for ident, change in folded.changes.items():
        known[ident] = change.status
