"""The composition root of ``ingest api``: settings in, adapters built, the API served. All commands start here."""

import argparse
import asyncio
import contextlib
import logging
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI

from mailwarren.contracts.topology import Topology
from mailwarren.ingest.adapters.api_logs import ApiLogs
from mailwarren.ingest.adapters.attachments import EmailAttachments
from mailwarren.ingest.adapters.blob_store import BlobStore
from mailwarren.ingest.adapters.broadcasts import Broadcasts
from mailwarren.ingest.adapters.broker import Broker
from mailwarren.ingest.adapters.database import Database, DatabaseDown
from mailwarren.ingest.adapters.depths import Depths
from mailwarren.ingest.adapters.dns import Dns
from mailwarren.ingest.adapters.domains import Domains
from mailwarren.ingest.adapters.email_metrics import EmailMetrics
from mailwarren.ingest.adapters.heartbeats import Heartbeats
from mailwarren.ingest.adapters.idempotency import Claims
from mailwarren.ingest.adapters.imports import Imports
from mailwarren.ingest.adapters.keys import Keys
from mailwarren.ingest.adapters.listings import Listings
from mailwarren.ingest.adapters.lists import Lists
from mailwarren.ingest.adapters.overrides import Overrides
from mailwarren.ingest.adapters.parked import Parked
from mailwarren.ingest.adapters.pauses import Pauses
from mailwarren.ingest.adapters.privacy import Privacy
from mailwarren.ingest.adapters.queue_looks import QueueLooks
from mailwarren.ingest.adapters.reads import Reads
from mailwarren.ingest.adapters.remote import Fetcher
from mailwarren.ingest.adapters.scheduled import Schedule
from mailwarren.ingest.adapters.schema import Schema
from mailwarren.ingest.adapters.sending_domains import SendingDomains
from mailwarren.ingest.adapters.suppression_lists import SuppressionLists
from mailwarren.ingest.adapters.suppressions import Suppressions
from mailwarren.ingest.adapters.templates import Templates
from mailwarren.ingest.adapters.tls_reports import TlsReports
from mailwarren.ingest.adapters.unconfirmed import Unconfirmed
from mailwarren.ingest.adapters.webhooks import Webhooks
from mailwarren.ingest.api.app import RequestIds, make_app
from mailwarren.ingest.api.services import DomainParts, Services
from mailwarren.ingest.attach import Attacher
from mailwarren.ingest.domain.admission import Marks
from mailwarren.ingest.domain.attachments import Limits
from mailwarren.ingest.domain.downloads import signing_key
from mailwarren.ingest.domain.hit_bounds import HitBounds
from mailwarren.ingest.domain.tracking_links import TrackingLinks
from mailwarren.ingest.domain.unsubscribe_links import Links
from mailwarren.ingest.hits import HitReports, Tracked
from mailwarren.ingest.internal.app import make_internal_app
from mailwarren.ingest.internal.keys import key_routes
from mailwarren.ingest.markup.compiler import Compiler
from mailwarren.ingest.settings import OpsSettings, Settings
from mailwarren.ingest.submit import Submit
from mailwarren.ingest.told import Told
from mailwarren.ingest.verifying import Verifier
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.runtime.collector import calm_collector
from mailwarren.runtime.health import Health, HealthServer
from mailwarren.runtime.loop import watch_loop
from mailwarren.runtime.metrics import record_service
from mailwarren.runtime.observe import observe
from mailwarren.runtime.room import Room
from mailwarren.runtime.settings import load
from mailwarren.runtime.shutdown import stop_on_signals
from mailwarren.runtime.tasks import end
from mailwarren.runtime.vault import WrongKeys, read_vault

log = structlog.get_logger()

KEEP_ALIVE = 75
"""Seconds that a connection may rest: longer than clients and proxies keep theirs, or a call of theirs might meet one
that is just being closed."""


@dataclass(frozen=True, slots=True)
class Api:
    """A running API without its socket."""

    app: RequestIds
    internal: FastAPI | None
    """For our own services; None without a token."""
    health: Health
    keys: Keys
    domains: SendingDomains
    depths: Depths
    unconfirmed: Unconfirmed
    tasks: tuple[asyncio.Task[None], ...]
    """What goes on in the background, for as long as the API runs."""


@contextlib.asynccontextmanager
async def running_api(settings: Settings) -> AsyncIterator[Api]:
    """Build everything, follow keys, depths and reports, and take it down again."""
    # Not in metrics.py, which the worker and the scheduler import too.
    record_service("ingest")
    topology = Topology(prefix=settings.amqp_prefix, retry_scale=settings.retry_scale)
    link = Link(settings.amqp_url.get_secret_value(), "ingest")
    publisher = Publisher(link)
    broker = Broker(publisher, topology)
    url = settings.management_url
    depths = Depths(link, topology, settings.depth_interval, url.get_secret_value() if url else None)
    unconfirmed = Unconfirmed(broker)
    database = Database(settings.database_url.get_secret_value(), settings.database_pool)
    keys, claims, schedule = Keys(database), Claims(database), Schedule(database)
    attached = EmailAttachments(database)
    store, attacher = _blobs(settings, attached)
    tracked = Tracked(settings.tracking_links(), HitReports(broker), HitBounds(), settings.tracking_ips)
    domains = _domains(settings, database, tracked.links)
    links, pauses = _links(settings), Pauses(database)
    api_logs = ApiLogs(database, writes=settings.api_logs_days > 0)
    submit = Submit(
        broker=broker,
        depths=depths,
        marks=Marks(settings.max_depth, settings.max_tracker_depth),
        claims=claims,
        suppressions=Suppressions(database),
        unconfirmed=unconfirmed,
        schedule=schedule,
        attached=attached,
        domains=domains.sending,
        links=links,
        pauses=pauses,
    )
    schema = Schema(database)
    health = Health("ingest")
    # Whether the process has got to work, not whether broker and database are there this second: all replicas would
    # be taken out of service at once, and a connection refused says less than our 503.
    health.add("schema", lambda: schema.trouble)
    health.add("keys", lambda: None if keys.loaded else keys.trouble)
    health.add("domains", lambda: None if domains.sending.loaded else domains.sending.trouble)
    health.add("broker", lambda: None if link.epoch else link.trouble)
    health.add("topology", lambda: depths.topology_trouble)
    reads = Reads(database, settings.read_wait, schedule)
    token = settings.internal_token.get_secret_value() if settings.internal_token else ""
    services = Services(
        submit=submit,
        broker=broker,
        keys=keys,
        reads=reads,
        listings=Listings(database),
        lists=Lists(database),
        imports=Imports(database),
        privacy=Privacy(database),
        suppressions=SuppressionLists(database),
        told=Told(broker),
        unsubscribe=links,
        tracked=tracked,
        schedule=schedule,
        broadcasts=Broadcasts(database),
        domains=domains,
        templates=Templates(database),
        tls_reports=TlsReports(database),
        compiler=Compiler(),
        overrides=Overrides(database, settings.read_wait),
        heartbeats=Heartbeats(link, topology),
        queues=QueueLooks(link, topology),
        parked=Parked(link, publisher, topology),
        health=health,
        max_body=settings.max_body,
        max_import=settings.max_import,
        retry_scale=settings.retry_scale,
        attached=attached,
        attacher=attacher,
        store=store,
        links=signing_key(token or secrets.token_hex()),
        max_with_files=settings.max_body + (settings.max_attachments_size if attacher else 0),
        large_bodies=Room(settings.large_bodies),
        public_url=settings.public_url,
        webhooks=Webhooks(database, None if settings.data_keys is None else read_vault(settings.data_keys)),
        private_webhooks=settings.private_webhooks,
        email_metrics=EmailMetrics(database),
        pauses=pauses,
        api_logs=api_logs,
    )
    routes = key_routes(domains.rows, domains.vault, settings.bounce_host)
    internal = make_internal_app(token, store, routes) if token else None
    async with database, link:
        following = (schema.follow(), keys.follow(), domains.sending.follow(), depths.follow(), unconfirmed.follow())
        beside = (pauses.follow(), api_logs.follow(), tracked.reports.follow(), watch_loop("api"))
        tasks = _follow(*following, *beside)
        try:
            app = make_app(services)
            yield Api(app, internal, health, keys, domains.sending, depths, unconfirmed, tuple(tasks))
        finally:
            await end(tasks)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await unconfirmed.report()
                    await tracked.reports.publish()
            with contextlib.suppress(TimeoutError, DatabaseDown):
                async with asyncio.timeout(1):
                    await api_logs.write()


def _links(settings: Settings) -> Links:
    """What makes links to unsubscribe."""
    links = settings.unsubscribe_links()
    if settings.public_url and not links.made:
        log.warning("ingest.unsubscribe.off", why="MAILWARREN_LINK_KEYS is not set")
    return links


def _blobs(settings: Settings, attached: EmailAttachments) -> tuple[BlobStore | None, Attacher | None]:
    """Where attachments are, and what takes them in: only where senders can get at them."""
    if settings.blob_url is None:
        return None, None
    store = BlobStore(settings.blob_url)
    if settings.internal_token is None:
        log.warning("ingest.attachments.off", why="MAILWARREN_INTERNAL_TOKEN is not set")
        return store, None
    limits = Limits(
        settings.max_attachments,
        settings.max_attachments_size,
        frozenset(settings.blocked_extensions.lower().replace(".", " ").split()),
    )
    fetcher = Fetcher(private=settings.remote_private)
    return store, Attacher(store=store, rows=attached, fetcher=fetcher, limits=limits, within=settings.remote_within)


def _domains(settings: Settings, database: Database, tracking: TrackingLinks) -> DomainParts:
    """Sending domains: made only where their keys can be kept, and senders can get at them."""
    rows = Domains(database, settings.site)
    vault = None
    if settings.data_keys is not None:
        if settings.internal_token is None:
            log.warning("ingest.domains.off", why="MAILWARREN_INTERNAL_TOKEN is not set")
        else:
            vault = read_vault(settings.data_keys)
    return DomainParts(
        rows=rows,
        sending=SendingDomains(
            database,
            bounce_host=settings.bounce_host,
            required=settings.require_verified_domains,
            tracking=tracking,
        ),
        verifier=Verifier(rows, Dns(settings.resolver), settings.site, settings.dkim_overlap_days),
        site=settings.site,
        tracking=tracking,
        vault=vault,
    )


def _follow(*coroutines: Coroutine[Any, Any, None]) -> list[asyncio.Task[None]]:
    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.critical("ingest.task.died", task=repr(task.get_coro()), exc_info=error)

    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    for task in tasks:
        task.add_done_callback(ended)
    return tasks


async def serve_api(settings: Settings) -> bool:
    """Serve until SIGTERM or SIGINT; requests in flight get ``drain`` seconds.

    Returns:
        False when it ended because a background task did: an API that no longer follows its keys or the depths is
        worse than one that starts anew.
    """
    stop = stop_on_signals()
    async with running_api(settings) as api:
        with (
            HealthServer(api.health, settings.metrics_host, settings.metrics_port),
            socket.create_server((settings.api_host, settings.api_port), backlog=2048) as listener,
        ):
            server = _server(api.app, settings)
            host, port = listener.getsockname()[:2]
            log.info("ingest.api.listening", host=host, port=port)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            async with _internal(api.internal, settings) as inside:
                stopped = asyncio.create_task(stop.wait())
                await asyncio.wait({stopped, serving, *inside, *api.tasks}, return_when=asyncio.FIRST_COMPLETED)
                healthy = not any(task.done() for task in (*inside, *api.tasks))
                log.info("ingest.api.stopping", healthy=healthy)
                server.should_exit = True
                await serving
    return healthy


@contextlib.asynccontextmanager
async def _internal(app: FastAPI | None, settings: Settings) -> AsyncIterator[tuple[asyncio.Task[None], ...]]:
    """The port for our own services, if there is one, open until the API has ended."""
    if app is None:
        yield ()
        return
    with socket.create_server((settings.internal_host, settings.internal_port), backlog=512) as listener:
        server = _server(app, settings)
        log.info("ingest.internal.listening", port=listener.getsockname()[1])
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield (serving,)
        finally:
            server.should_exit = True
            await serving


def _server(app: Any, settings: Settings) -> "_Server":
    return _Server(
        uvicorn.Config(
            app,
            http="httptools",
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=int(settings.drain),
            timeout_keep_alive=KEEP_ALIVE,
        )
    )


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leave the signals to us: uvicorn would raise them again when it is done."""
        yield


def main(argv: list[str] | None = None) -> int:
    """``ingest api``, ``ingest worker``, ``ingest scheduler``."""
    parser = argparse.ArgumentParser(
        prog="ingest", description="Mailwarren's HTTP API, and the work behind it. Settings: MAILWARREN_* variables."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("api", help="serve the HTTP API")
    commands.add_parser("worker", help="carry out orders from ops.tasks (Celery)")
    commands.add_parser("scheduler", help="give the workers what is due; any number of replicas")
    command = parser.parse_args(argv).command
    if command == "worker":
        return _worker()
    return _scheduler() if command == "scheduler" else _api()


def _worker() -> int:
    # Celery is for this command alone.
    from mailwarren.ingest.ops.worker import run_worker

    settings = load(OpsSettings, "worker")
    observe("worker", settings)
    return run_worker(settings)


def _scheduler() -> int:
    from mailwarren.ingest.scheduler import run_scheduler

    settings = load(OpsSettings, "scheduler")
    observe("scheduler", settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_scheduler(settings))
    return 0


def _api() -> int:
    settings = load(Settings, "ingest")
    observe("ingest", settings)
    # It logs every request at info level, with the credentials in the URL.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    calm_collector()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            healthy = runner.run(serve_api(settings))
        except WrongKeys as error:
            log.critical("ingest.data_keys.wrong", error=str(error))
            return 1
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main())
