"""``/v1/shaping``: who is slowed down and why; a person suspends, limits, and ends it."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.shaping import OverrideEnd, Scope
from mailwarren.ingest.api.answers.operating import OverrideGone, OverrideShown, ShapingList, SiteShown
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.domain.cursor import parse_id, parse_page
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.refusal import invalid_parameter, not_found
from mailwarren.ingest.domain.requests import ShapingBody
from mailwarren.ingest.domain.roster import SiteTotal, total_sites
from mailwarren.ingest.domain.shaping import Held, ended_already, plan_override

log = structlog.get_logger()


async def read_list(call: Call) -> Answer:
    """``GET /v1/shaping``: all in force, or with ``past`` a page of those that have ended too."""
    query = call.query
    past = query.pop("past", "false")
    if past not in ("true", "false"):
        raise invalid_parameter("The `past` parameter is true or false.")
    page = parse_page(query, None if past == "false" else 20)
    rows = await call.services.overrides.page(page, past=past == "true")
    if rows is None:
        raise invalid_parameter("The cursor in `after` or `before` is not an override.")
    shown, more = page.cut(rows)
    now = datetime.now(UTC)
    sites = total_sites(beat for _, beat in call.services.heartbeats.live)
    in_force = await call.services.overrides.in_force()
    return answer(
        ShapingList(
            has_more=more,
            data=[shown_override(one, now) for one in shown],
            sites=[shown_site(site, in_force) for site in sites.values()],
        )
    )


async def create(call: Call) -> Answer:
    """``POST /v1/shaping``. Works without the database: senders have it from the broker."""
    body = decode(call.body, ShapingBody)
    who = await call.services.keys.name_of(call.key)
    override = plan_override(body, now=time.time(), ident=new_id(), who=who)
    await call.services.broker.publish_shaping(override)
    log.info(
        "ingest.shaping.begun", override=str(override.id), scope=override.scope.value, name=override.name,
        suspend=override.suspend, until=override.until, by=str(call.key.id),
    )  # fmt: skip
    held = Held(
        id=override.id,
        scope=override.scope,
        name=override.name,
        since=datetime.fromtimestamp(override.since, UTC),
        until=datetime.fromtimestamp(override.until, UTC),
        suspend=override.suspend,
        connections=override.connections,
        rate=override.rate,
        cause=override.cause,
        sample=override.sample,
    )
    return answer(shown_override(held, held.since), 201)


async def delete(call: Call) -> Answer:
    """``DELETE /v1/shaping/{id}``."""
    ident = parse_id(call.path["id"])
    held = await call.services.overrides.find(ident)
    if held is None:
        raise not_found(f"There is no override with the id {ident}.")
    now = datetime.now(UTC)
    if not held.in_force(now):
        raise ended_already(held, now)
    who = await call.services.keys.name_of(call.key)
    await call.services.broker.publish_shaping(OverrideEnd(ident, now.timestamp(), f"person:{who}"))
    log.info("ingest.shaping.ended", override=str(ident), by=str(call.key.id))
    return answer(OverrideGone(id=ident))


def shown_override(held: Held, now: datetime) -> OverrideShown:
    """An override as the API shows it."""
    return OverrideShown(
        id=held.id,
        scope=held.scope,
        name=held.name,
        since=held.since,
        until=held.until,
        in_force=held.in_force(now),
        suspend=held.suspend,
        connections=held.connections,
        rate=held.rate,
        lane=held.lane,
        cause=held.cause,
        sample=held.sample,
        ended_at=held.ended_at,
        ended_by=held.ended_by,
    )


def shown_site(total: SiteTotal, in_force: Sequence[Held]) -> SiteShown:
    """A site as the API shows it."""
    return SiteShown(
        name=total.name,
        open=total.open,
        busy=total.busy,
        waiting=total.waiting,
        slots=total.slots,
        rate=round(total.rate, 1),
        senders=total.senders,
        overrides=[one.id for one in in_force if one.scope is Scope.SITE and one.name == total.name],
    )
