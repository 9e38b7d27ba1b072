"""``/v1/queues`` and ``/v1/senders``: what waits where, and who takes it."""

from collections.abc import Collection
from datetime import UTC, datetime

from mailwarren.contracts.shaping import LIVE_FOR, Heartbeat, Scope
from mailwarren.ingest.adapters.database import DatabaseDown
from mailwarren.ingest.adapters.queue_looks import Place
from mailwarren.ingest.api.answers.operating import (
    EgressShown,
    QueueList,
    QueueShown,
    SenderList,
    SenderShown,
    WarmingShown,
)
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.api.services import Services
from mailwarren.ingest.domain.egresses import EgressTotal, egresses_of, total_egresses
from mailwarren.ingest.domain.explain import guess_site
from mailwarren.ingest.domain.queues import Look, QueueState, judge


async def read_queues(call: Call) -> Answer:
    """``GET /v1/queues``."""
    services = call.services
    looks = await services.queues.look()
    suspended = await _suspended(services)
    return answer(QueueList(data=[_shown(place, looks.get(place.name), suspended) for place in services.queues.places]))


async def read_senders(call: Call) -> Answer:
    """``GET /v1/senders``."""
    heartbeats = call.services.heartbeats
    return answer(
        SenderList(
            listening_for=round(heartbeats.listening_for, 1),
            data=[_sender(ago, beat) for ago, beat in heartbeats.live],
            egresses=[_egress(total) for total in total_egresses(beat for _, beat in heartbeats.live)],
        )
    )


def state_of(place: Place, look: Look | None, suspended: Collection[str]) -> QueueState:
    """How a queue stands while these sites are suspended."""
    site = guess_site(place.shard, ())
    return judge(place.kind, look, suspended=site is not None and site in suspended)


def senders_of(services: Services, queue: str | None) -> int | None:
    """Live senders that take from a queue, by its name there; None when nobody was listened to for long enough."""
    takers = sum(queue in beat.queues for _, beat in services.heartbeats.live)
    return takers if takers or services.heartbeats.listening_for > LIVE_FOR else None


async def _suspended(services: Services) -> set[str]:
    try:
        held = await services.overrides.in_force()
    except DatabaseDown:
        # What waits is told all the same.
        return set()
    return {one.name for one in held if one.suspend and one.scope is Scope.SITE}


def _shown(place: Place, look: Look | None, suspended: Collection[str]) -> QueueShown:
    return QueueShown(
        name=place.name,
        kind=place.kind,
        lane=place.lane,
        shard=place.shard,
        messages=None if look is None else look.messages,
        consumers=0 if look is None else look.consumers,
        rate=None if look is None else look.rate,
        state=state_of(place, look, suspended),
    )


def _sender(ago: float, beat: Heartbeat) -> SenderShown:
    return SenderShown(
        id=beat.sender,
        host=beat.host,
        fleet=beat.fleet,
        version=beat.version,
        started_at=datetime.fromtimestamp(beat.started_at, UTC),
        heard=round(ago, 1),
        queues=list(beat.queues),
        in_flight=beat.in_flight,
        limit=beat.limit,
        waiting=beat.waiting,
        rate=beat.mails_10s / 10,
        sites=len(beat.sites),
        tls_broken=list(beat.tls_broken or ()),
        egresses=[one.name for one in egresses_of(beat)],
    )


def _egress(total: EgressTotal) -> EgressShown:
    return EgressShown(
        name=total.name,
        helo=total.helo,
        addresses=list(total.addresses),
        senders=total.senders,
        open=total.open_at == total.senders,
        problems=total.problems,
        warming=[WarmingShown(site=one.site, limit=one.most, taken=one.taken) for one in total.warming.values()],
    )
