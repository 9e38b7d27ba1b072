"""One word for an email with several deliveries: ``last_event`` as the SDKs know it.

One word for many must not hide trouble, so the states that somebody should look at come first, then what is still on
its way, then the good ends. Reads list every delivery beside it (``status``).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from mailwarren.contracts.tracking import HitKind
from mailwarren.store.states import State

LAST_EVENT: dict[State | HitKind, str] = {
    State.BOUNCED: "bounced",
    State.FAILED: "failed",
    State.EXPIRED: "failed",
    State.SUPPRESSED: "suppressed",
    State.DEFERRED: "delivery_delayed",
    State.HELD: "queued",
    State.PARKED: "queued",
    State.ACCEPTED: "queued",
    State.UNCONFIRMED: "queued",
    State.CANCELED: "canceled",
    HitKind.CLICKED: "clicked",
    HitKind.OPENED: "opened",
    State.DELIVERED: "delivered",
}
"""The word of each state (DESIGN §1), in order of precedence: the first state that any delivery has gives the word. A
delivery that was opened or clicked in counts as that, instead of delivered.

The SDKs know no word for "perhaps": some of their types are closed and refuse a whole list for one null in it."""


def last_event(states: Iterable[str]) -> str:
    """The word for an email whose deliveries have these states; ``queued`` while none is known."""
    present = set(states)
    return next((word for state, word in LAST_EVENT.items() if state in present), "queued")


def seen_state(delivery: Mapping[str, Any]) -> str:
    """The state of a delivery for :func:`last_event`: what its reader did, once it is delivered."""
    if delivery["state"] == State.DELIVERED:
        if delivery.get("clicked_at") is not None:
            return HitKind.CLICKED
        if delivery.get("opened_at") is not None:
            return HitKind.OPENED
    return str(delivery["state"])
