"""The composition root: ``mailwarren-flower``."""

import argparse
import logging
import os
import signal
from collections.abc import Iterable, Sequence
from typing import Any

import structlog

from mailwarren.contracts.topology import Topology
from mailwarren.flower.rollcall import ANSWER_WITHIN, RollCall
from mailwarren.flower.settings import FlowerSettings
from mailwarren.runtime.health import Health, HealthServer
from mailwarren.runtime.logs import configure_logging
from mailwarren.runtime.metrics import record_service
from mailwarren.runtime.settings import load

log = structlog.get_logger()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve Flower until SIGTERM or SIGINT."""
    argparse.ArgumentParser(prog="mailwarren-flower", description=__doc__).parse_args(arguments)
    settings = load(FlowerSettings, "flower")
    configure_logging("flower", settings.log_level)
    # Flower would let everybody call its API over this, whatever its basic auth says.
    os.environ.pop("FLOWER_UNAUTHENTICATED_API", None)
    # A line for every request, at info level.
    logging.getLogger("tornado.access").setLevel(logging.WARNING)
    record_service("flower")
    serve(settings)


def serve(settings: FlowerSettings) -> None:
    """Run it."""
    from flower.app import Flower
    from flower.options import default_options
    from flower.urls import settings as web

    options = configured(default_options, settings)
    path = f"/{options.url_prefix}" if options.url_prefix else ""
    web = web | {name: f"{path}{web[name]}" for name in ("login_url", "static_url_prefix")}
    celery = celery_app(settings)
    flower = Flower(capp=celery, options=options, **web)
    url = settings.amqp_url.get_secret_value()
    calls = RollCall(lambda: _present(celery), _Screen(flower), url, settings.flower_interval)
    health = Health("flower")
    health.add("broker", lambda: calls.trouble)
    with HealthServer(health, settings.metrics_host, settings.metrics_port) as server:
        port = flower.start_http_server()
        log.info("flower.start", port=port, path=path, metrics_port=server.port)

        def stop(*_: object) -> None:
            flower.io_loop.add_callback_from_signal(flower.stop)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        calls.start()
        flower.start()
        calls.stop()
    log.info("flower.stopped")
    # Flower's thread that waits for events is a daemon in a blocking call, which the interpreter might wait for.
    os._exit(0)


def configured(options: Any, settings: FlowerSettings) -> Any:
    """Flower's own options as they have to be."""
    options.address = settings.flower_host
    options.port = settings.flower_port
    options.url_prefix = settings.flower_path.strip("/")
    options.basic_auth = [settings.flower_auth.get_secret_value()]
    # Nobody stops workers, revokes tasks or starts them from here.
    options.read_only = True
    # It would tell senders to send events, which they have no right to and no room for.
    options.enable_events = False
    options.max_tasks = settings.flower_tasks
    options.purge_offline_workers = int(60 * settings.flower_interval)
    options.inspect_timeout = 1000 * ANSWER_WITHIN
    return options


def celery_app(settings: FlowerSettings) -> Any:
    """An application without tasks, that finds the workers' exchanges."""
    from celery import Celery

    topology = Topology(settings.amqp_prefix)
    app = Celery("mailwarren-flower", broker=settings.amqp_url.get_secret_value())
    app.conf.update(
        control_exchange=topology.name("celery"),
        event_exchange=topology.name("celeryev"),
        event_queue_prefix=topology.name("celeryev"),
        accept_content=["json"],
        broker_connection_retry_on_startup=True,
        broker_heartbeat=30,
    )
    return app


def _present(app: Any) -> Iterable[str]:
    return [name for answer in app.control.ping(timeout=ANSWER_WITHIN) for name in answer]


class _Screen:
    """Flower as a :class:`.rollcall.Board`."""

    def __init__(self, flower: Any) -> None:
        self._flower = flower
        self._ours: set[str] = set()

    def seen(self, event: dict[str, Any]) -> None:
        self._flower.io_loop.add_callback(self._tell, event)

    def look_at(self, worker: str) -> None:
        self._flower.io_loop.add_callback(self._flower.update_workers, worker)

    def _tell(self, event: dict[str, Any]) -> None:
        name, state = event["hostname"], self._flower.events.state
        if name not in state.workers:
            self._ours.add(name)
        # A worker with heartbeats of its own is left to them: they come more often and say more.
        if name in self._ours or not state.workers[name].alive:
            state.event(event)
