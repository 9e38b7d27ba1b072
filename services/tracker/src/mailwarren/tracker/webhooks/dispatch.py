"""Claims what is due and sends it: so many events of each endpoint at once, and so many of all.

Endpoints take turns. One that fails has one event on its way at a time, and all such endpoints together at most half
of the room: whatever they do, the others go on.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.payloads import payload_of
from mailwarren.runtime.errors import report as report_error
from mailwarren.runtime.vault import Unreadable, Vault
from mailwarren.store.engine import AWAY, database_trouble
from mailwarren.store.states import WebhookState
from mailwarren.tracker.adapters.kept import Kept
from mailwarren.tracker.adapters.receivers import Receivers
from mailwarren.tracker.adapters.webhook_queue import Claimed, Endpoint, Result, Tried, claim, endpoints
from mailwarren.tracker.domain.webhook_lane import Lane
from mailwarren.tracker.domain.webhook_retries import Answer, plan_next
from mailwarren.tracker.domain.webhook_signing import signed_headers
from mailwarren.tracker.webhooks import metrics
from mailwarren.tracker.webhooks.results import Results

log = structlog.get_logger()

LOOK_AGAIN = 1.0
"""Seconds for which the list of endpoints serves."""
BREATH = 0.01
"""Seconds between two claims at least: more is due then, and one statement takes it all."""
SLACK = 20.0
"""Seconds of a lease beyond the time of a try: to write down what came of it."""
AWAITED = 300.0
"""Seconds for which an event waits for the acceptance of its email, which it has overtaken."""
AWAIT_AGAIN = 1.0
FIRST_PAUSE = 0.5
LAST_PAUSE = 5.0

_HEADERS = ((b"Content-Type", b"application/json"), (b"User-Agent", b"Mailwarren-Webhooks/1"))

Key = tuple[UUID, UUID]
"""An endpoint: its tenant and its id."""


@dataclass(frozen=True)
class Limits:
    """What one process takes on: ``each`` and ``all`` are events on their way at once."""

    each: int
    all: int
    timeout: float
    """Seconds for a try."""
    interval: float
    """Seconds between two looks at an idle queue."""
    scale: float = 1.0
    """Shortens the schedule of tries, for demos and tests."""


@dataclass
class _Open:
    """An endpoint with the keys that its requests are signed with."""

    endpoint: Endpoint = field(repr=False)
    keys: Sequence[bytes] = field(repr=False)
    lane: Lane


class Dispatcher:
    """Tells the webhooks, until it is stopped.

    Args:
        connection: to claim over.
        receivers: where it goes.
        results: who writes down what came of it.
        vault: opens the endpoints' secrets; None when this process has no keys.
        limits: how much at once.
    """

    def __init__(
        self, connection: Kept, receivers: Receivers, results: Results, vault: Vault | None, limits: Limits
    ) -> None:
        self._connection = connection
        self._receivers = receivers
        self._results = results
        self._vault = vault
        self._limits = limits
        self._open: dict[Key, _Open] = {}
        self._unreadable: set[Endpoint] = set()
        self._look_at = 0.0
        self._in_flight = 0
        self._turn = 0
        self._wake = asyncio.Event()
        self.trouble: str | None = "nothing has been looked at yet"
        """Why the database did not answer the last time; None when it did."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; what is on its way is finished first."""
        pause = FIRST_PAUSE
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                try:
                    claimed = await self._take()
                except AWAY as error:
                    self._tell(database_trouble(error))
                    log.warning("webhooks.database.away", error=self.trouble, retry_in=pause)
                    await self._rest(stop, pause)
                    pause = min(2 * pause, LAST_PAUSE)
                    continue
                self._tell(None)
                pause = FIRST_PAUSE
                for one in claimed:
                    found = self._open[one.tenant, one.endpoint]
                    found.lane.began()
                    self._in_flight += 1
                    group.create_task(self._deliver(one, found))
                metrics.record_in_flight(self._in_flight)
                await self._rest(stop, BREATH if claimed else self._limits.interval)

    async def _take(self) -> list[Claimed]:
        now = time.monotonic()
        if now >= self._look_at:
            async with self._connection.use() as connection:
                found = await endpoints(connection)
            await self._bring_up_to_date(found)
            self._look_at = now + LOOK_AGAIN
        rooms = self._rooms(time.monotonic())
        if not rooms:
            return []
        free = self._limits.all - self._in_flight
        async with self._connection.use() as connection:
            return await claim(connection, rooms, free, self._limits.timeout + SLACK)

    async def _bring_up_to_date(self, found: Sequence[Endpoint]) -> None:
        before, self._open = self._open, {}
        unreadable: set[Endpoint] = set()
        for endpoint in found:
            key = endpoint.tenant, endpoint.id
            known = before.get(key)
            if known is None or known.endpoint != endpoint:
                keys = self._keys(endpoint)
                if not keys:
                    unreadable.add(endpoint)
                    continue
                # Another address is another receiver: what is known of the old one says nothing about it.
                same = known is not None and known.endpoint.url == endpoint.url
                known = _Open(endpoint, keys, known.lane if known and same else self._new_lane())
            self._open[key] = known
        self._unreadable = unreadable
        metrics.record_unreadable(len(unreadable))
        await self._receivers.keep_only([(one.endpoint.id, one.endpoint.url) for one in self._open.values()])

    def _new_lane(self) -> Lane:
        return Lane(self._limits.each, self._limits.scale)

    def _keys(self, endpoint: Endpoint) -> list[bytes]:
        """What its requests are signed with; empty when the secret in force cannot be read."""
        why = "MAILWARREN_DATA_KEYS is not set"
        if self._vault is not None:
            try:
                return [self._vault.open(secret) for secret in endpoint.secrets]
            except Unreadable as error:
                why = str(error)
        if endpoint not in self._unreadable:
            log.warning("webhooks.secret.unreadable", webhook=str(endpoint.id), why=why)
        return []

    def _rooms(self, now: float) -> Mapping[Key, int]:
        """How much each endpoint may be sent, in an order in which each is the first in its turn."""
        free = self._limits.all - self._in_flight
        if free <= 0 or not self._open:
            return {}
        keys = list(self._open)
        self._turn = (self._turn + 1) % len(keys)
        probes = self._limits.all // 2 - sum(one.lane.in_flight for one in self._open.values() if one.lane.failing)
        rooms: dict[Key, int] = {}
        for key in (*keys[self._turn :], *keys[: self._turn]):
            lane = self._open[key].lane
            room = lane.room(now)
            if lane.failing and room:
                room = 1 if probes > 0 else 0
                probes -= 1
            if room:
                rooms[key] = min(room, free)
        return rooms

    async def _deliver(self, one: Claimed, to: _Open) -> None:
        success: bool | None = None
        try:
            result = await self._result(one, to)
            success = None if result.tried is None else result.success
            await self._results.put(result)
        finally:
            to.lane.ended(success=success, now=time.monotonic())
            self._in_flight -= 1
            self._wake.set()

    async def _result(self, one: Claimed, to: _Open) -> Result:
        if one.awaited and one.age < AWAITED:
            state = WebhookState.ATTEMPTING if one.attempts else WebhookState.PENDING
            return Result(one, state, one.attempts, AWAIT_AGAIN * self._limits.scale, None)
        at = time.time()
        try:
            answer = await self._send(one, to, at)
        except Exception as error:
            log.exception("webhooks.event.surprise", webhook=str(one.endpoint), event_id=str(one.id))
            report_error("webhooks.event.surprise", error)
            answer = Answer(0, f"an error of ours: {type(error).__name__}", "bug")
        metrics.record_try(answer, first=one.attempts == 0, age=one.age)
        attempts = one.attempts + 1
        plan = plan_next(answer, attempts, self._limits.scale)
        log.debug(
            "webhooks.event.tried",
            webhook=str(one.endpoint),
            event_id=str(one.id),
            kind=one.kind,
            attempt=attempts,
            result=answer.result,
            retry_in=plan.wait,
            trace_id=None if one.trace_id is None else one.trace_id.hex,
        )
        tried = Tried(new_id(), at, answer.status, answer.text, answer.duration)
        return Result(one, plan.state, attempts, plan.wait, tried, answer.success, plan.gone)

    async def _send(self, one: Claimed, to: _Open, at: float) -> Answer:
        body = payload_of(one.kind, one.at, one.data, one.mail)
        headers = [*_HEADERS, *signed_headers(one.id, int(at), body, to.keys)]
        if one.trace_id is not None:
            # The same trace as the call, the mail and the outcome; this request is a span that nobody records here.
            headers.append((b"traceparent", f"00-{one.trace_id.hex}-{one.id.hex[16:]}-00".encode()))
        return await self._receivers.post(one.endpoint, to.endpoint.url, headers, body)

    async def _rest(self, stop: asyncio.Event, seconds: float) -> None:
        """Wait so long, or until there is room again, or the end; never shorter than a breath."""
        await asyncio.sleep(min(seconds, BREATH))
        if seconds <= BREATH:
            self._wake.clear()
            return
        stopping, waking = asyncio.create_task(stop.wait()), asyncio.create_task(self._wake.wait())
        await asyncio.wait({stopping, waking}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in (stopping, waking):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._wake.clear()

    def _tell(self, trouble: str | None) -> None:
        self.trouble = trouble
        metrics.record_database(up=trouble is None)
