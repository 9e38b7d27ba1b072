"""Celery's consumer without what a mail sender does not want, and with an orderly end."""

import contextlib
import logging
import time
from typing import Any, cast

from celery import bootsteps
from celery.worker import state
from celery.worker.consumer import Consumer

from mailwarren.runtime.patience import PatientConsumer

log = logging.getLogger(__name__)

BEAT_EVERY = 1.0
"""Seconds. A signal is noticed when the consumer loop next turns, so this also bounds the delay of a shutdown."""


class MailConsumer(PatientConsumer, Consumer):
    """No native delayed delivery (28 more queues, and it loses the shard), and unknown messages reach the engine.

    A message without Celery's headers would be rejected, acked or kill the worker, depending on what is missing; the
    engine parks it with its reason.
    """

    class Blueprint(Consumer.Blueprint):
        """The default steps but two."""

        default_steps = [  # noqa: RUF012 - Celery's own form
            step for step in Consumer.Blueprint.default_steps if not str(step).endswith(("DelayedDelivery", "Agent"))
        ]

    @property
    def trouble(self) -> str | None:
        """Where readiness looks."""
        return cast("str | None", self.app.handover.trouble)

    @trouble.setter
    def trouble(self, why: str | None) -> None:
        self.app.handover.trouble = why

    def on_unknown_message(self, body: Any, message: Any) -> None:  # noqa: ARG002 - Celery's signature
        """No ``task`` header."""
        self.app.handover.submit(message)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002
        """Another task's name."""
        self.app.handover.submit(message)

    def on_decode_error(self, message: Any, exc: Exception) -> None:  # noqa: ARG002
        """A body that Celery cannot read."""
        self.app.handover.submit(message)


class Drain(bootsteps.StartStopStep):
    """Ends what is in flight: on shutdown by finishing it, on a lost connection by declaring it stale."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, c: Any) -> None:
        """Beat the heartbeat from the consumer's own loop."""
        if c.timer is not None:
            c.timer.call_repeatedly(BEAT_EVERY, c.app.heartbeat.beat, ("consumer",))
        c.app.heartbeat.beat("consumer")
        c.app.handover.trouble = None

    def stop(self, c: Any) -> None:
        """Called before the consumer's channel goes, for whatever reason."""
        handover = c.app.handover
        if state.should_stop is None and state.should_terminate is None:
            handover.lost()
            return
        handover.stopping = True
        if c.task_consumer is not None:
            with contextlib.suppress(*c.connection_errors):
                c.task_consumer.cancel()
        end = time.monotonic() + c.app.drain_grace
        while handover.open and time.monotonic() < end:
            handover.flush()
            if handover.connected and not self._pump(c):
                # The broker gives the rest to somebody else: only what is past its final dot is finished here.
                handover.lost()
            if not handover.connected:
                time.sleep(0.05)
        handover.flush()
        log.info("sender.drained", extra={"left": handover.open})

    @staticmethod
    def _pump(c: Any) -> bool:
        """Keeps the heartbeat going while the last deliveries end; False when the connection is lost."""
        try:
            c.connection.drain_events(timeout=0.05)
            c.connection.heartbeat_check()
        except TimeoutError:
            pass
        except Exception:  # noqa: BLE001 - any kind of connection trouble means the same here
            return False
        return True
