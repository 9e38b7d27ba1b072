"""Which negotiations of TLS an event tells of."""

from mailwarren.contracts.events import Event, Kind
from mailwarren.contracts.tls import TlsSession


def told_by(event: Event) -> tuple[TlsSession, ...]:
    """Those of its own attempt: an end without another attempt repeats what the last deferral has told already."""
    tried = event.tried
    if tried is None or not tried.sessions:
        return ()
    return () if event.kind is Kind.EXPIRED and tried.number != event.attempt else tried.sessions
