"""Acceptances and reports into the tables: what they make of their deliveries, and the events themselves."""

from collections import ChainMap
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING
from uuid import UUID

from mailwarren.contracts.events import Event
from mailwarren.contracts.parcel import Parcel
from mailwarren.tracker.adapters import deliveries, events
from mailwarren.tracker.adapters.deliveries import Accepted, Stored
from mailwarren.tracker.domain.counting import Facts, Steps, facts_after, steps
from mailwarren.tracker.domain.fold import Folded, Report, doubtful, fold
from mailwarren.tracker.domain.suppression import full_mailbox_of, suppression_of
from mailwarren.tracker.ports import Recorded

if TYPE_CHECKING:
    from asyncpg import Connection, Record


async def write(
    connection: "Connection[Record]",
    reports: Sequence[Report],
    stored: Stored,
    parcels: Sequence[Parcel] = (),
    *,
    into: Recorded,
    careful: bool = False,
) -> None:
    """Write what is new. A row that is not stored is inserted as it is after the reports.

    Args:
        connection: inside of a transaction that has locked the rows of all the deliveries.
        reports: each event once.
        stored: what those rows say; afterwards, its ``known`` and ``facts`` as they are then, and what it ``met``.
        parcels: acceptances.
        into: gets what was new.
        careful: look for every event, also those that are surely new.

    Raises:
        asyncpg.UniqueViolationError: somebody else has written one of the rows meanwhile, or an event that nobody took
            for a known one is known.
    """
    known = stored.known
    doubts = [report.event for report in reports] if careful else doubtful(reports, known)
    seen = await events.seen(connection, doubts, ever=careful)
    folded = fold(reports, known, seen)
    accepted = deliveries.accepted_by(parcels)
    inserted = await deliveries.insert(connection, accepted, folded.changes, known)
    filled_in = {ident: accepted[ident] for ident in stored.unaccepted if ident in accepted}
    await deliveries.fill_in(connection, filled_in)
    await deliveries.write_changes(connection, folded.changes, known)
    news = [report for report in reports if report.event.id not in seen]
    await events.write_events(connection, news)
    into.taken = [accepted[ident] for ident in (*inserted, *filled_in) if ident in accepted]
    into.accepted = [parcel for parcel, _ in into.taken]
    into.events = [report.event for report in news]
    into.delivered = folded.delivered
    into.repeated = len(reports) - len(news)
    gone = await events.write_suppressions(connection, filter(None, map(suppression_of, into.events)))
    full = await events.write_full_mailboxes(connection, filter(None, map(full_mailbox_of, into.events)))
    into.suppressed = [*gone, *full]
    into.steps, facts = _steps(folded, stored, accepted, {*inserted, *filled_in}, into.events)
    known.update((ident, change.status) for ident, change in folded.changes.items())
    stored.facts.update(facts)
    stored.met = {ident for ident in filled_in if facts[ident].opened_at or facts[ident].clicked_at}


def _steps(
    folded: Folded, stored: Stored, accepted: Accepted, fresh: AbstractSet[UUID], news: Sequence[Event]
) -> tuple[Steps, Mapping[UUID, Facts]]:
    """What the batch adds to the counters, and what is counted of the deliveries that it changes.

    Args:
        folded: its changes.
        stored: the rows before it.
        accepted: its acceptances.
        fresh: deliveries that it inserted or whose acceptance it filled in.
        news: the events that it recorded.
    """
    known, before = stored.known, stored.facts
    changes = {
        ident: change for ident, change in folded.changes.items() if ident not in known or change.status != known[ident]
    }
    after: dict[UUID, Facts] = {}
    for ident in fresh | changes.keys():
        change, was = changes.get(ident), before.get(ident)
        acceptance = accepted.get(ident) if ident in fresh else None
        parcel = None if acceptance is None else acceptance[0]
        if parcel is not None:
            tenant = parcel.tenant
        elif was is not None:
            tenant = was.tenant
        elif change is not None:
            tenant = change.first.event.tenant
        else:
            continue
        after[ident] = facts_after(tenant, was, change, parcel)
    pairs = [(before.get(ident), facts) for ident, facts in after.items()]
    return steps(pairs, news, ChainMap(after, before)), after
