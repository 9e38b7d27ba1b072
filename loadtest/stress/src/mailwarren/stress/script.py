"""What the receiver plays in a cell."""

from typing import Any

from mailwarren.bench.work import ENVELOPE_SENDER
from mailwarren.stress.grid import Cell

SENDER_DOMAIN = ENVELOPE_SENDER.partition("@")[2]

REFUSAL = {"stage": "rcpt", "code": 550, "enhanced": "5.1.1", "text": "No such user"}
DEFERRAL = {"stage": "rcpt", "code": 450, "enhanced": "4.2.1", "text": "Mailbox busy, try again"}


def persona(cell: Cell) -> dict[str, Any]:
    """One persona for every domain; the same recipients are refused whenever the cell runs."""
    rules = []
    if cell.refused:
        rules.append(REFUSAL | {"share": cell.refused})
    if cell.deferred:
        rules.append(DEFERRAL | {"share": cell.deferred, "first_attempts": cell.tries})
    return {"domains": ["*"], "dot_latency_ms": cell.latency_ms, "rules": rules}


def personas(cell: Cell) -> list[dict[str, Any]]:
    """None where the receiver takes every mail at once: it is cheapest then.

    A relay tells the sender what it could not deliver, by mail, and that is no part of the load: always taken at once.
    """
    one = persona(cell)
    return [{"domains": [SENDER_DOMAIN]}, one] if one["dot_latency_ms"] or one["rules"] else []
