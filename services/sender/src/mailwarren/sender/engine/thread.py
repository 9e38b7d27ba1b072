"""The asyncio side of a sender process: builds its parts in one place and runs them in a thread of their own."""

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

import structlog
import uvloop

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.runtime.errors import finish_reports
from mailwarren.runtime.health import Health, HealthServer
from mailwarren.runtime.heartbeat import Heartbeat
from mailwarren.runtime.loop import watch_loop
from mailwarren.sender import metrics
from mailwarren.sender.adapters.ladder import LadderWriter
from mailwarren.sender.adapters.metrics import record_keys
from mailwarren.sender.adapters.outcomes import OutcomeWriter
from mailwarren.sender.adapters.questions import Asker
from mailwarren.sender.deliver import Deliverer
from mailwarren.sender.domain.in_force import InForce
from mailwarren.sender.engine.consumer import BEAT_EVERY
from mailwarren.sender.engine.handover import Handover
from mailwarren.sender.settings import SenderSettings
from mailwarren.sender.settle import Settler
from mailwarren.sender.shaping.heart import Vitals
from mailwarren.sender.signing.mails import Signer
from mailwarren.sender.slots import Slots
from mailwarren.sender.smtp import Pool
from mailwarren.sender.suspects import Suspects
from mailwarren.sender.transmit import Transmitter
from mailwarren.sender.wiring import (
    build_blobs,
    build_internal,
    build_routes,
    build_shaping,
    build_signer,
    open_rules,
)

log = structlog.get_logger()

GAUGES_EVERY = 1.0


class EngineThread:
    """Starts with the worker, ends after the consumer has drained."""

    def __init__(self, settings: SenderSettings, topology: Topology, handover: Handover, heartbeat: Heartbeat) -> None:
        self._fleet = ""
        self._queues: Sequence[str] = ()
        self._settings = settings
        self._topology = topology
        self._handover = handover
        self._heartbeat = heartbeat
        self._loop = uvloop.new_event_loop()
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._started: Future[None] = Future()

    def start(self, fleet: str, queues: Sequence[str]) -> None:
        """Return when the loop takes messages from the worker's queues (the broker may still be away)."""
        self._fleet, self._queues = fleet, queues
        self._thread.start()
        self._started.result(timeout=30)

    def stop(self) -> None:
        """End the loop after closing the pool and the link."""
        if self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(timeout=30)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except Exception as error:
            if not self._started.done():
                self._started.set_exception(error)
                return
            log.exception("sender.engine.died")
            finish_reports()
            # The consumer would go on taking mail. What is not acked, the broker gives to another sender.
            os._exit(1)

    async def _serve(self) -> None:
        settings, topology = self._settings, self._topology
        self._stop = asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            link = Link(settings.amqp_url.get_secret_value(), f"sender-{socket.gethostname()}")
            publisher = Publisher(link)
            outcomes = OutcomeWriter(publisher, topology)
            asker = Asker(link, publisher, topology, settings.settle_timeout)
            rules = open_rules(settings)
            routes = build_routes(settings, rules)
            shaping = build_shaping(
                settings, topology, link, publisher, rules=rules, fleet=self._fleet, names=self._queues
            )
            control, shaper, pool = shaping.control, shaping.shaper, shaping.pool
            slots = Slots(settings.in_flight)
            ladder_writer = LadderWriter(link, publisher, topology)
            internal = await stack.enter_async_context(build_internal(settings))
            blobs = await stack.enter_async_context(build_blobs(settings, internal))
            signer = build_signer(settings, internal)
            stack.push_async_callback(signer.close)
            deliverer = Deliverer(
                outcomes=outcomes,
                ladder_writer=ladder_writer,
                control=control,
                settler=Settler(asker, topology.ladder, self._patience, self._handover.connected_for),
                transmitter=Transmitter(
                    routes=routes,
                    pool=pool,
                    outcomes=outcomes,
                    replies=lambda: rules.replies,
                    shaper=shaper,
                    automation=shaping.automation,
                    departures=shaping.departures,
                ),
                ladder=topology.ladder,
                slots=slots,
                shaper=shaper,
                suspects=Suspects(ladder_writer, topology.ladder, f"{socket.gethostname()}:{os.getpid()}"),
                blobs=blobs,
                signer=signer,
            )
            health = Health("sender")
            health.add("consumer", lambda: self._handover.trouble)
            health.add("broker", lambda: link.trouble)
            health.add("control_log", lambda: None if control.read else "it has not been read to its end")
            health.add("egress", lambda: shaping.checks.trouble)
            server = HealthServer(health, settings.metrics_host, settings.metrics_port)
            stack.callback(server.close)
            await stack.enter_async_context(link)
            vitals = partial(_vitals, slots, settings.in_flight, deliverer, signer)
            await stack.enter_async_context(shaping.running(vitals))
            stack.push_async_callback(routes.close)
            stack.push_async_callback(pool.close, 5.0)
            self._handover.start(self._loop, deliverer.finish)
            metrics.record_limits(settings.prefetch, settings.in_flight)
            self._started.set_result(None)
            log.info("sender.engine.started", retry_scale=settings.retry_scale, metrics_port=server.port)
            watch = asyncio.create_task(self._watch(slots, pool, shaping.shares.in_force, signer))
            limits_of = partial(shaping.departures.limits_of, by_rules=routes.limits_of)
            follow = asyncio.create_task(rules.follow(lambda: pool.adapt(limits_of)))
            turning = asyncio.create_task(watch_loop("engine"))
            await self._stop.wait()
            watch.cancel()
            follow.cancel()
            turning.cancel()

    async def _watch(self, slots: Slots, pool: Pool, in_force: InForce, signer: Signer) -> None:
        since_beat = BEAT_EVERY
        while True:
            metrics.record_in_flight(slots.used, self._handover.open)
            metrics.record_sites(pool.stats().sites)
            dials = pool.take_dials()
            metrics.record_dials(dials.opened, dials.failed)
            metrics.record_broken_tls(len(pool.broken_tls()))
            metrics.record_overrides(in_force.overrides(time.time()))
            keys = signer.stats()
            record_keys(keys.known, keys.missing, keys.age)
            since_beat += GAUGES_EVERY
            if since_beat >= BEAT_EVERY:
                self._heartbeat.beat("engine")
                if not self._handover.connected:
                    # Without a broker the consumer's loop does not turn; a restart would not help it.
                    self._heartbeat.beat("consumer")
                since_beat = 0.0
            await asyncio.sleep(GAUGES_EVERY)

    def _patience(self, lane: Lane) -> float:
        return self._settings.settle_patience_high if lane is Lane.HIGH else self._settings.settle_patience


def _vitals(slots: Slots, limit: int, deliverer: Deliverer, signer: Signer) -> Vitals:
    return Vitals(slots.used, limit, deliverer.ended, signer.missing())
