"""``GET /v1/emails/{id}/explain``: why has it not been sent?"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shaping import MissingKeys, Scope
from mailwarren.contracts.shards import SHARDS
from mailwarren.ingest.api.answers.operating import DeliveryExplained, Explained, LastTry
from mailwarren.ingest.api.emails import found_email
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.api.queues import senders_of, state_of
from mailwarren.ingest.api.shaping import shown_override, shown_site
from mailwarren.ingest.api.shown import shown_reply
from mailwarren.ingest.domain.egresses import find_spent
from mailwarren.ingest.domain.explain import (
    Known,
    WaitsFor,
    budget_end,
    explain,
    explain_schedule,
    find_missing,
    guess_site,
)
from mailwarren.ingest.domain.roster import SiteTotal, total_sites
from mailwarren.ingest.domain.shaping import Held
from mailwarren.store.states import ENDS, State


async def read(call: Call) -> Answer:
    """``GET /v1/emails/{id}/explain``."""
    email = await found_email(call)
    rows = await call.services.reads.deliveries(call.key.tenant, email)
    if email.get("deliveries") is not None:
        data = [_not_released(email, row) for row in rows]
        return answer(Explained(id=UUID(str(email["id"])), at=datetime.now(UTC), data=data))
    in_force = await call.services.overrides.in_force(call.key.tenant)
    beats = [beat for _, beat in call.services.heartbeats.live]
    sites = total_sites(beats)
    missing = find_missing((one for beat in beats for one in beat.missing_keys), call.key.tenant, email["sender"])
    open_ = any(row["state"] not in ENDS for row in rows)
    files = open_ and bool(await call.services.attached.of_email(call.key.tenant, email["id"]))
    data = [await _explained(call, email, row, in_force, sites, files=files, missing=missing) for row in rows]
    return answer(Explained(id=UUID(str(email["id"])), at=datetime.now(UTC), data=data))


def _not_released(email: Any, row: Any) -> DeliveryExplained:
    found = explain_schedule(email, datetime.now(UTC))
    return DeliveryExplained(
        id=row["id"],
        to=row["address"],
        state=row["state"],
        summary=found.summary,
        waits_for=found.waits_for,
        lane=email["lane"],
        next_attempt_at=found.next_attempt_at,
    )


async def _explained(
    call: Call,
    email: Any,
    row: Any,
    in_force: list[Held],
    sites: dict[str, SiteTotal],
    *,
    files: bool,
    missing: MissingKeys | None,
) -> DeliveryExplained:
    services, now, state, lane = call.services, datetime.now(UTC), State(row["state"]), Lane(row["lane"])
    open_ = state not in ENDS
    place = services.queues.send_place(lane, row["shard"]) if open_ and row["shard"] in SHARDS else None
    look = await services.queues.one(place.name) if place else None
    site = row["site"] or (guess_site(row["shard"], sites) if open_ else None)
    ours = [
        one
        for one in in_force
        if open_
        and (
            one.name == site
            if one.scope is Scope.SITE
            else one.name == str(call.key.tenant) and one.lane in (None, lane)
        )
    ]
    beats = [beat for _, beat in services.heartbeats.live]
    known = Known(
        now=now,
        queue=place.name if place else None,
        look=look,
        site=site,
        guessed=row["site"] is None,
        overrides=ours,
        senders=senders_of(services, place.told) if place else None,
        files=files,
        missing=missing,
        spent=find_spent(beats, place.told, lane, call.key.tenant, site) if place else None,
    )
    until = budget_end(lane, row["accepted_at"], email["expires_at"], services.retry_scale)
    found = explain(row, known, canceled=email["cancel_requested_at"] is not None, until=until)
    suspended = [one.name for one in ours if one.suspend]
    return DeliveryExplained(
        id=row["id"],
        to=row["address"],
        state=state,
        summary=found.summary,
        waits_for=found.waits_for,
        lane=lane,
        shard=row["shard"],
        queue=known.queue,
        queue_state=state_of(place, look, suspended) if place else None,
        ahead_at_most=look.messages if look and found.waits_for is WaitsFor.QUEUE else None,
        senders=known.senders,
        site=site,
        site_guessed=known.guessed and site is not None,
        site_now=shown_site(sites[site], in_force) if open_ and site in sites else None,
        overrides=[shown_override(one, now) for one in ours],
        last_attempt=_last(row),
        next_attempt_at=found.next_attempt_at,
        ladder=found.ladder,
        budget_ends_at=until if open_ else None,
    )


def _last(row: Any) -> LastTry | None:
    if not row["attempt"]:
        return None
    return LastTry(number=row["attempt"], at=row["updated_at"], site=row["site"], reply=shown_reply(row))
