"""The ``Task.Strategy`` of ``mail.send`` (DESIGN §4, stop 6): every message goes to the asyncio engine."""

from collections.abc import Callable
from typing import Any


def strategy(task: Any, app: Any, consumer: Any, **_: Any) -> Callable[..., None]:  # noqa: ARG001 - Celery's signature
    """Called by Celery for each new broker connection; returns the handler of its messages."""
    handover = app.handover
    handover.attach(consumer)
    submit = handover.submit

    def handle(message: Any, _payload: Any, _ack: Any, _reject: Any, _callbacks: Any, **_: Any) -> None:
        submit(message)

    return handle
