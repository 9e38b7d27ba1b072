"""``/v1/emails/metrics``: what became of mail, in counts that are exact to the ledger."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from mailwarren.contracts.counters import COUNTERS, NO_BROADCAST
from mailwarren.contracts.routing import domain_of
from mailwarren.ingest.api.answers.email_metrics import MetricsShown
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.domain.addresses import InvalidAddress, parse_address
from mailwarren.ingest.domain.email_metrics import Counted, Dimension, Wanted, parse_wanted, registered

Found = Iterable[tuple[Mapping[str, Any], Mapping[str, int]]]
"""Counters with what they are about: ``period`` (its number), ``domain``, ``email``, ``broadcast``."""


async def read(call: Call) -> Answer:
    """``GET /v1/emails/metrics``."""
    wanted = parse_wanted(call.query, datetime.now(UTC))
    periods = wanted.periods()
    names = await call.services.email_metrics.domains(call.key.tenant) if wanted.by_domain else {}
    found = list(_of_domains(await _found(call, wanted, periods), wanted, names))
    totals = Counted({})
    if wanted.by_email and not wanted.emails:
        # Of all emails; those that have rows were made in this time.
        for _, counts in _of_domains(await _counters(call, wanted, periods), wanted, names):
            totals.add(counts)
    else:
        for _, counts in found:
            totals.add(counts)
    shown = MetricsShown(
        start_date=wanted.start,
        end_date=wanted.end,
        metrics=list(wanted.metrics),
        dimensions=list(wanted.dimensions),
        granularity=wanted.granularity,
        totals=totals.shown(wanted.metrics),
    )
    if not wanted.dimensions:
        return answer(shown)
    rows = await _rows(call, wanted, periods, found)
    return answer(replace(shown, data=[row.shown(wanted.metrics) for row in rows]))


async def _found(call: Call, wanted: Wanted, periods: Sequence[datetime]) -> Found:
    if not wanted.by_email:
        return await _counters(call, wanted, periods)
    found = []
    for row in await call.services.email_metrics.of_emails(call.key.tenant, wanted, periods):
        about = {"period": row["period"], "domain": row["domain"], "email": row["email_id"]}
        found.append((about, {row["what"]: row["number"]}))
    return found


async def _counters(call: Call, wanted: Wanted, periods: Sequence[datetime]) -> Found:
    services, tenant = call.services, call.key.tenant
    found = [
        (
            {"period": row["period"], "domain": row["domain"], "broadcast": row["broadcast"]},
            {name: row[name] for name in COUNTERS},
        )
        for row in await services.email_metrics.counters(tenant, wanted, periods)
    ]
    for row in await services.email_metrics.unsubscribed(tenant, wanted, periods):
        about = {
            "period": row["period"],
            "domain": domain_of(row["sender"]).strip(" >"),
            "broadcast": row["broadcast"] or NO_BROADCAST,
        }
        found.append((about, {"unsubscribed": row["unsubscribed"]}))
    return found


def _of_domains(found: Found, wanted: Wanted, names: Mapping[str, UUID]) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """Those of the wanted domains, with the id and the name of theirs."""
    registered_names = {ident: name for name, ident in names.items()}
    for about, counts in found:
        if not wanted.by_domain:
            yield about, counts
            continue
        ident = registered(names, _ascii(about["domain"]))
        if wanted.domains and ident not in wanted.domains:
            continue
        yield {**about, "domain": (ident, about["domain"] if ident is None else registered_names[ident])}, counts


async def _rows(call: Call, wanted: Wanted, periods: Sequence[datetime], found: Found) -> list[Counted]:
    """A row for each combination of the dimensions, in their order."""
    called: Mapping[UUID, str] = {}
    if Dimension.BROADCAST in wanted.dimensions:
        idents = {UUID(str(about["broadcast"])) for about, _ in found} - {NO_BROADCAST}
        called = await call.services.email_metrics.broadcast_names(call.key.tenant, idents)
    rows: dict[tuple[Any, ...], Counted] = {}
    for about, counts in found:
        if Dimension.BROADCAST in wanted.dimensions and UUID(str(about["broadcast"])) == NO_BROADCAST:
            continue
        place = tuple(str(about[dimension]) if dimension is not Dimension.PERIOD else about["period"]
                      for dimension in wanted.dimensions)  # fmt: skip
        row = rows.get(place)
        if row is None:
            row = rows[place] = Counted(_key(about, wanted, periods, called))
        row.add(counts)
    return [rows[place] for place in sorted(rows)]


def _key(
    about: Mapping[str, Any], wanted: Wanted, periods: Sequence[datetime], called: Mapping[UUID, str]
) -> dict[str, Any]:
    key: dict[str, Any] = {}
    for dimension in wanted.dimensions:
        match dimension:
            case Dimension.PERIOD:
                key["period"] = wanted.name_of(periods[about["period"] - 1])
            case Dimension.DOMAIN:
                key["domain_id"], key["domain_name"] = about["domain"]
            case Dimension.EMAIL:
                key["email_id"] = str(about["email"])
            case Dimension.BROADCAST:
                ident = UUID(str(about["broadcast"]))
                key["broadcast_id"], key["broadcast_name"] = str(ident), called.get(ident, "")
    return key


def _ascii(domain: str) -> str:
    """A domain as sending domains are named: in A-labels."""
    if domain.isascii():
        return domain
    try:
        return parse_address(f"postmaster@{domain}").rpartition("@")[2]
    except InvalidAddress:
        return domain
