"""Celery's consumer, made safe against messages that it would ack unread, or die of."""

import logging
from collections.abc import Callable
from typing import Any, cast

import structlog
from celery import bootsteps
from celery.worker.consumer import Consumer
from celery.worker.strategy import default

from mailwarren.contracts.codec import NewerVersion, Undecodable, decode_order
from mailwarren.contracts.topology import Topology
from mailwarren.ingest.ops import metrics
from mailwarren.runtime.patience import PatientConsumer

log = structlog.get_logger()
celery_log = logging.getLogger(__name__)

PUT_OFF = "mw-put-off"
"""A header that counts how often an order was left to a worker of a newer version."""
PUT_OFF_MOST = 100
"""Times: eight hours, in which an upgrade should have come to its end."""


class OpsConsumer(PatientConsumer, Consumer):
    """No native delayed delivery (28 more queues), and what is no order of ours goes to ``ops.dead``.

    Celery itself would ack a body that it cannot read, and end the worker over a message without an id.
    """

    class Blueprint(Consumer.Blueprint):
        """The default steps but two."""

        default_steps = [  # noqa: RUF012 - Celery's own form
            step for step in Consumer.Blueprint.default_steps if not str(step).endswith(("DelayedDelivery", "Agent"))
        ]

    @property
    def trouble(self) -> str | None:
        """Where readiness looks."""
        return cast("str | None", self.app.signs.trouble)

    @trouble.setter
    def trouble(self, why: str | None) -> None:
        self.app.signs.trouble = why

    def on_unknown_message(self, body: Any, message: Any) -> None:  # noqa: ARG002 - Celery's signature
        """No ``task`` header."""
        self._sort_out(message)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002
        """A task that this version does not know, or another program's."""
        self._sort_out(message)

    def on_decode_error(self, message: Any, exc: Exception) -> None:  # noqa: ARG002
        """A body that Celery cannot read."""
        self._sort_out(message)

    def _sort_out(self, message: Any) -> None:
        """An order for a newer worker waits for one, for a time; everything else is set aside."""
        try:
            decode_order(_bytes(message.body), message.headers or {})
        except NewerVersion:
            self._put_off(message)
        except Undecodable as error:
            self._set_aside(message, "unreadable", str(error))
        else:
            self._put_off(message)

    def _put_off(self, message: Any) -> None:
        times = int(message.headers.get(PUT_OFF) or 0) + 1
        if times > PUT_OFF_MOST:
            self._set_aside(message, "unknown", f"no worker knows {message.headers.get('task')}")
            return
        topology: Topology = self.app.topology
        with self.app.producer_pool.acquire(block=True) as producer:
            producer.publish(
                _bytes(message.body),
                exchange=topology.ops_retry.name,
                routing_key=topology.ops_rungs[-1],
                headers=original(message.headers) | {PUT_OFF: times},
                content_type="application/json",
                content_encoding="utf-8",
                delivery_mode=2,
                mandatory=True,
                retry=False,
            )
        log.info("worker.order.put_off", task=message.headers.get("task"), times=times)
        message.ack_log_error(celery_log, self.connection_errors)

    def _set_aside(self, message: Any, reason: str, why: str) -> None:
        metrics.record_set_aside(reason)
        log.error("worker.order.set_aside", reason=reason, why=why)
        message.reject_log_error(celery_log, self.connection_errors, requeue=False)


class Signs(bootsteps.StartStopStep):
    """Says whether orders are taken."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, c: Any) -> None:
        """The queue is consumed."""
        c.app.signs.trouble = None
        metrics.record_consuming(orders=True)

    def stop(self, c: Any) -> None:
        """The connection is lost, or the worker stops."""
        metrics.record_consuming(orders=False)
        c.app.signs.trouble = c.app.signs.trouble or "the consumer has no connection to the broker"


def strategy(task: Any, app: Any, consumer: Any, **options: Any) -> Callable[..., None]:
    """Celery's own, for messages that are orders: it trusts the headers, and a wrong one would end the worker."""
    handle = default(task, app, consumer, **options)

    def handle_order(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **more: Any) -> None:
        try:
            decode_order(_bytes(message.body), message.headers or {})
        except (Undecodable, NewerVersion):
            consumer._sort_out(message)  # noqa: SLF001 - ours
            return
        handle(message, body, ack, reject, callbacks, **more)

    return handle_order


def original(headers: dict[str, Any]) -> dict[str, Any]:
    """Headers to publish anew. With ``x-death`` the broker would take the second wait for a cycle, and drop it."""
    return {name: value for name, value in headers.items() if not name.startswith("x-")}


def _bytes(body: Any) -> bytes:
    return body.encode("utf-8", "surrogateescape") if isinstance(body, str) else bytes(body)
