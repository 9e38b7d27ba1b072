"""A batch's reports laid over what is stored: what to write, and which reports were news."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from uuid import UUID

import msgspec

from mailwarren.contracts.events import Event, Kind
from mailwarren.contracts.parcel import Attempt
from mailwarren.store.states import State
from mailwarren.tracker.domain.status import UNHEARD, Status, next_status, surely_new


class Report(msgspec.Struct, frozen=True, gc=False):
    """An event, with the time of the next attempt when it is a deferral (Unix seconds)."""

    event: Event
    next_attempt_at: float | None = None


class Change(msgspec.Struct):
    """What becomes of a delivery's row.

    ``first`` is any report of it, for the columns that a row needs before its acceptance is seen. ``decided`` is the
    last report that changed the state or brought a later attempt, ``tried`` the last such attempt with a reply;
    ``at`` is the latest report's time, ``deferred_at`` that of the first deferral among them that was news.
    """

    status: Status
    first: Report
    at: float
    decided: Report | None = None
    tried: Attempt | None = None
    deferred_at: float | None = None


class Folded(msgspec.Struct):
    """The result: rows to write by delivery, and the deliveries that became ``delivered`` by it."""

    changes: dict[UUID, Change]
    delivered: list[Event]


def distinct(reports: Iterable[Report]) -> dict[UUID, Report]:
    """Reports by event id; of repetitions the first."""
    found: dict[UUID, Report] = {}
    for report in reports:
        found.setdefault(report.event.id, report)
    return found


def doubtful(reports: Iterable[Report], known: Mapping[UUID, Status]) -> list[Event]:
    """The events that may have been recorded before: somebody has to look."""
    found = []
    for report in reports:
        event = report.event
        status = known.get(event.delivery)
        if status is not None and not surely_new(status, event.kind, event.attempt):
            found.append(event)
    return found


def fold(reports: Iterable[Report], known: Mapping[UUID, Status], seen: AbstractSet[UUID]) -> Folded:
    """Apply the reports in their order, but those whose event ids were ``seen`` before.

    Deliveries that are not ``known`` begin as unheard of.
    """
    result = Folded({}, [])
    for report in reports:
        event = report.event
        if event.id in seen:
            continue
        change = result.changes.get(event.delivery)
        if change is None:
            change = Change(known.get(event.delivery, UNHEARD), report, event.at)
            result.changes[event.delivery] = change
        before = change.status
        after = change.status = next_status(before, event.kind, event.attempt, event.at)
        change.at = max(change.at, event.at)
        if event.kind is Kind.DEFERRED and after is not before and change.deferred_at is None:
            change.deferred_at = event.at
        if after.state is not before.state or after.attempt > before.attempt:
            change.decided = report
            change.tried = event.tried or change.tried
            if event.kind is Kind.DELIVERED and before.state is not State.DELIVERED:
                result.delivered.append(event)
    return result
