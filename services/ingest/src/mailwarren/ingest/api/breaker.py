"""``/v1/breaker``: how much of a tenant's mail bounces, whether its bulk mail waits for that, and going on with it."""

import time
from uuid import UUID

import structlog

from mailwarren.contracts.shaping import OverrideEnd
from mailwarren.ingest.adapters.pauses import WINDOW
from mailwarren.ingest.api.answers.breaker import BreakerResumed, BreakerShown, PauseShown
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.domain.refusal import invalid
from mailwarren.store.states import BreakerState

log = structlog.get_logger()


async def read(call: Call) -> Answer:
    """``GET /v1/breaker``."""
    row = await call.services.pauses.look(call.key.tenant)
    pauses = await call.services.pauses.of(call.key.tenant)
    known = BreakerState(row["state"] or BreakerState.FINE)
    if pauses:
        known = BreakerState.PAUSED
    elif known is BreakerState.PAUSED:
        # Somebody has just ended it: the tracker notes that with its next look.
        known = BreakerState.FINE
    bad, decided = row["bounced"] + row["complained"], row["decided"]
    return answer(
        BreakerShown(
            state=known,
            since=row["since"],
            window_hours=WINDOW // 3600,
            decided=decided,
            bounced=row["bounced"],
            complained=row["complained"],
            rate=round(100 * bad / decided, 2) if decided else 0.0,
            pauses=[
                PauseShown(
                    override_id=one["id"],
                    since=one["since"],
                    until=one["until"],
                    cause=one["cause"],
                    sample=one["sample"],
                )
                for one in pauses
            ],
            ended_at=row["ended_at"],
            ended_by=row["ended_by"],
        )
    )


async def resume(call: Call) -> Answer:
    """``POST /v1/breaker/resume``."""
    tenant = call.key.tenant
    pauses = await call.services.pauses.of(tenant)
    if not pauses:
        raise invalid("The bulk mail of this tenant is not paused.")
    who = await call.services.keys.name_of(call.key)
    ended = [UUID(str(one["id"])) for one in pauses]
    for ident in ended:
        await call.services.broker.publish_shaping(OverrideEnd(ident, time.time(), f"person:{who}"))
    call.services.pauses.ended(tenant)
    log.info(
        "ingest.breaker.resumed",
        tenant=str(tenant),
        overrides=[str(ident) for ident in ended],
        why=[one["sample"] for one in pauses],
        by=str(call.key.id),
    )
    return answer(BreakerResumed(resumed=ended))
