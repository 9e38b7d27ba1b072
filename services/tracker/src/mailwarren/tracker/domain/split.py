"""A message that was refused as a whole, in two: what is wrong with one delivery of it is no fault of the others."""

import dataclasses

from msgspec.structs import replace

from mailwarren.contracts import codec
from mailwarren.contracts.events import Outcomes
from mailwarren.contracts.parcel import Parcel
from mailwarren.contracts.tracking import Hit, Hits
from mailwarren.tracker.domain.fold import Report
from mailwarren.tracker.domain.read import Work


def split(work: Work) -> tuple[Work, Work] | None:
    """Two halves of the work, each with a message of its own that can be set aside and replayed; None for no halves.

    Outcomes are split between events, parcels between deliveries, hits between hits; anything else is about one thing.
    """
    if codec.is_parcel(work.message.headers):
        return _split_parcel(work)
    if len(work.reports) > 1:
        middle = len(work.reports) // 2
        return _some(work, work.reports[:middle]), _some(work, work.reports[middle:])
    if len(work.hits) > 1:
        middle = len(work.hits) // 2
        return _hits(work, work.hits[:middle]), _hits(work, work.hits[middle:])
    return None


def _split_parcel(work: Work) -> tuple[Work, Work] | None:
    parcel = codec.decode_parcel(work.message.body, work.message.headers)
    middle = len(parcel.deliveries) // 2
    if not middle:
        return None
    return _part(work, parcel, slice(middle)), _part(work, parcel, slice(middle, None))


def _part(work: Work, parcel: Parcel, which: slice) -> Work:
    part = replace(parcel, deliveries=parcel.deliveries[which])
    ids = {delivery.id for delivery in part.deliveries}
    return dataclasses.replace(
        work,
        message=dataclasses.replace(work.message, body=codec.encode_parcel(part)),
        acceptance=work.acceptance and part,
        reports=[report for report in work.reports if report.event.delivery in ids],
    )


def _some(work: Work, reports: list[Report]) -> Work:
    body = codec.encode(Outcomes(tuple(report.event for report in reports)))
    return dataclasses.replace(work, message=dataclasses.replace(work.message, body=body), reports=reports)


def _hits(work: Work, hits: tuple[Hit, ...]) -> Work:
    message = dataclasses.replace(work.message, body=codec.encode(Hits(hits)))
    return dataclasses.replace(work, message=message, hits=hits)
