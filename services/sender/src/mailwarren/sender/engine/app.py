"""The Celery application of a sender."""

from typing import Any

import structlog
from celery import Celery, Task, signals

from mailwarren.contracts.codec import TASK
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shards import SHARDS
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.collector import calm_collector
from mailwarren.runtime.heartbeat import Heartbeat
from mailwarren.runtime.observe import observe
from mailwarren.sender import metrics
from mailwarren.sender.engine.consumer import Drain
from mailwarren.sender.engine.handover import Handover
from mailwarren.sender.engine.thread import EngineThread
from mailwarren.sender.settings import SenderSettings

log = structlog.get_logger()


def build_app(settings: SenderSettings) -> Celery:
    """A worker application whose only task is ``mail.send``; nothing connects before the worker starts."""
    topology = Topology(settings.amqp_prefix, settings.retry_scale)
    app = Celery("mailwarren-sender", broker=settings.amqp_url.get_secret_value())
    app.conf.update(celery_config(settings, topology))
    app.handover = Handover()
    app.heartbeat = Heartbeat(settings.heartbeat_file, ("consumer", "engine"))
    app.drain_grace = settings.drain_grace
    app.steps["consumer"].add(Drain)

    class MailTask(Task):
        """Never runs in a pool: its strategy takes the messages."""

        name = TASK
        Strategy = "mailwarren.sender.engine.strategy:strategy"

        def run(self, **_: Any) -> None:
            raise RuntimeError("mail.send is delivered by its strategy, not by a pool")

    app.register_task(MailTask())

    engine = EngineThread(settings, topology, app.handover, app.heartbeat)

    # Celery's signals hold weak references; the application keeps the functions.
    def logs(**_: Any) -> None:
        observe("sender", settings)

    def start(sender: Any = None, **_: Any) -> None:
        # Celery sets up logging after this signal; the engine's first lines should look like all others.
        logs()
        calm_collector()
        try:
            queues = list(app.amqp.queues.consume_from)
            engine.start(_tell_fleet(settings, sender.hostname, queues), queues)
        except Exception as error:
            # Celery swallows a handler's exception and would go on to take mail that nobody sends.
            log.critical("sender.start.failed", error=f"{type(error).__name__}: {error}", exc_info=error)
            raise SystemExit(1) from error

    def stop(**_: Any) -> None:
        engine.stop()

    app.kept = (engine, logs, start, stop)
    signals.setup_logging.connect(logs)
    signals.worker_init.connect(start)
    signals.worker_shutdown.connect(stop)
    return app


def _tell_fleet(settings: SenderSettings, node: str, queues: list[str]) -> str:
    """The name of a fleet is that of its workers, unless it is said otherwise."""
    parts = [name.removeprefix(settings.amqp_prefix).split(".") for name in queues]
    lanes = [lane for lane in Lane if any(lane in part for part in parts)]
    shards = [shard for shard in SHARDS if any(shard in part for part in parts)]
    fleet = settings.fleet or node.partition("@")[0].removeprefix(settings.amqp_prefix)
    metrics.record_fleet(fleet, lanes, ["all"] if len(shards) == len(SHARDS) else shards, len(queues))
    return fleet


def celery_config(settings: SenderSettings, topology: Topology) -> dict[str, Any]:
    """The worker's configuration; the reasons are in ``docs/adr/0002``."""
    return {
        "task_queues": [
            # The argument is how Celery learns that these are quorum queues, which have no global QoS.
            _undeclared(queue)
            for queue in topology.send_queues
        ],
        "task_default_queue": topology.send_queues[0].name,
        "task_default_exchange": topology.send.name,
        "task_default_exchange_type": "topic",
        "task_create_missing_queues": False,
        "task_acks_late": True,
        "task_ignore_result": True,
        "task_default_delivery_mode": "persistent",
        "accept_content": ["json"],
        "worker_consumer": "mailwarren.sender.engine.consumer:MailConsumer",
        "worker_prefetch_multiplier": settings.prefetch,
        "worker_send_task_events": False,
        "worker_enable_remote_control": True,
        "control_exchange": topology.name("celery"),
        "worker_hijack_root_logger": False,
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        "broker_heartbeat": 30,
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        "broker_transport_options": {"confirm_publish": True},
    }


def _undeclared(queue: Any) -> Any:
    queue.no_declare = True
    for bound in queue.bindings:
        bound.exchange.no_declare = True
    return queue
