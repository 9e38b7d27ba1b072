"""What Celery's consumers of ours do while the broker is away or refuses them: say why, and not ask again at once."""

import time
from abc import ABC, abstractmethod
from typing import Any, cast

from mailwarren.runtime.reasons import broker_trouble

SAME_TROUBLE_REST = 1.0
"""Seconds before the next try when the last one failed for the same reason."""


class PatientConsumer(ABC):
    """Stands before Celery's ``Consumer`` among the bases of a class; knows nothing else of Celery."""

    app: Any

    @property
    @abstractmethod
    def trouble(self) -> str | None:
        """Why nothing is consumed, as readiness shows it."""

    @trouble.setter
    @abstractmethod
    def trouble(self, why: str | None) -> None: ...

    def ensure_connected(self, conn: Any) -> Any:
        """Connect; what Celery tries again by itself is noted as the reason why nothing is consumed."""
        tried = conn.ensure_connection

        def ensure_connection(errback: Any = None, *args: Any, **options: Any) -> Any:
            def note(exc: Exception, interval: float) -> None:
                self._note(exc)
                if errback is not None:
                    errback(exc, interval)

            return tried(note, *args, **options)

        conn.ensure_connection = ensure_connection
        return cast("Any", super()).ensure_connected(conn)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Refused by the broker itself, or away."""
        cast("Any", super()).on_connection_error_before_connected(exc)
        self._note_and_rest(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Lost, or the broker refused what is done first over a connection: a queue is missing, perhaps."""
        cast("Any", super()).on_connection_error_after_connected(exc)
        self._note_and_rest(exc)

    def _note_and_rest(self, exc: Exception) -> None:
        before = self.trouble
        self._note(exc)
        if before == self.trouble:
            # Celery would try again at once, for ever.
            time.sleep(SAME_TROUBLE_REST)

    def _note(self, exc: Exception) -> None:
        self.trouble = broker_trouble(exc, self.app.conf.broker_url)
