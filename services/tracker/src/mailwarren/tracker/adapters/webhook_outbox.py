"""What webhooks are told of a batch, written in the batch's own transaction: as durable as what it is about."""

import time
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from mailwarren.contracts.ids import new_id
from mailwarren.tracker.adapters.rows import copy, json_text, moment
from mailwarren.tracker.domain.notices import Subscription, Subscriptions, hit_notices_of, notices_of
from mailwarren.tracker.ports import Recorded

if TYPE_CHECKING:
    from uuid import UUID

    from asyncpg import Connection, Record

LOOK_AGAIN = 1.0
"""Seconds for which the copy of the endpoints serves."""

LIVE = "w.status = 'enabled' AND (h.disabled_at IS NULL OR h.disabled_at < w.enabled_at)"
"""Neither the tenant nor we have given the endpoint up; ``h`` is its row of ``webhook_health``, if there is one."""

_SUBSCRIPTIONS = f"""
SELECT w.tenant, w.id, w.events FROM webhooks w
LEFT JOIN webhook_health h ON h.tenant = w.tenant AND h.endpoint = w.id
WHERE {LIVE}
"""  # noqa: S608 - a constant

_NOTICE = ("tenant", "endpoint", "id", "kind", "at", "data", "email_id")


class WebhookOutbox:
    """Writes notices, for tenants that have webhooks. Mail of all others costs a look into a dictionary.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._look_at = 0.0
        self._subscriptions: Subscriptions = {}

    async def refresh(self, connection: "Connection[Record]") -> None:
        """Bring the copy of the endpoints up to date, if it is older than :data:`LOOK_AGAIN`."""
        now = self._clock()
        if now < self._look_at:
            return
        found: dict[UUID, list[Subscription]] = {}
        for tenant, endpoint, kinds in await connection.fetch(_SUBSCRIPTIONS):
            found.setdefault(tenant, []).append(Subscription(endpoint, frozenset(kinds)))
        self._subscriptions = found
        self._look_at = now + LOOK_AGAIN

    async def write(self, connection: "Connection[Record]", recorded: Recorded) -> None:
        """Write what the webhooks are told of ``recorded``, inside of the transaction that records it."""
        if not self._subscriptions:
            return
        notices = chain(
            notices_of(recorded, self._subscriptions, new_id),
            hit_notices_of(recorded.seen, self._subscriptions, new_id),
        )
        rows: Sequence[tuple[object, ...]] = [
            (one.tenant, one.endpoint, one.id, one.kind, moment(one.at), json_text(one.data), one.email_id)
            for one in notices
        ]
        await copy(connection, "webhook_deliveries", _NOTICE, rows)
