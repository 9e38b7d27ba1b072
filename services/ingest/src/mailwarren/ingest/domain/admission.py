"""Admission (DESIGN §5): whether there is room for more mail. Queues have no length limit, so this is the limit.

Depths are about a second old. A queue that does not exist counts as full: nothing could be recorded or sent.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from mailwarren.contracts.lanes import Lane

ALARM_SHARE = 0.8
"""Of the broker's own memory and disk alarms, at which it would block every publisher."""


FULL = ("broker_down", "broker_blocked", "broker_alarm", "tracker_backlog", "no_queue", "queue_full")
"""Every ``reason`` of :class:`Full`."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Depths in messages above which nothing more is taken: of a send queue, and of the tracker's queues together."""

    send: int
    tracker: int


@dataclass(frozen=True, slots=True)
class BrokerState:
    """What is known of the broker. Depths that are not known yet are absent and refuse nothing.

    ``send`` is keyed by (lane, shard), ``accepted`` by lane; ``events`` is the sum over the partitions.
    ``alarm`` names a mark of the broker's memory or disk that was reached.
    """

    up: bool = True
    blocked: bool = False
    alarm: str | None = None
    send: Mapping[tuple[Lane, str], float] = field(default_factory=dict)
    accepted: Mapping[Lane, float] = field(default_factory=dict)
    events: float = 0

    @property
    def tracker(self) -> float:
        """Messages that wait for the tracker."""
        return sum(self.accepted.values()) + self.events


@dataclass(frozen=True, slots=True)
class Full:
    """Why there is no room. ``reason`` is a metric label, ``message`` for the caller."""

    reason: str
    message: str


def room_for(lane: Lane, shard: str, state: BrokerState, marks: Marks) -> Full | None:
    """None when a parcel for this lane and shard may be published."""
    if full := room_at_all(state, marks):
        return full
    if state.events == math.inf or state.accepted.get(lane) == math.inf or state.send.get((lane, shard)) == math.inf:
        return Full("no_queue", "A queue of this service does not exist; its operator has been told.")
    if state.send.get((lane, shard), 0) > marks.send:
        return Full("queue_full", f"Too many {lane.value} mails wait for this group of domains ({shard}).")
    return None


def room_at_all(state: BrokerState, marks: Marks) -> Full | None:
    """None when the broker takes anything."""
    if not state.up:
        return Full("broker_down", "The message broker cannot be reached right now.")
    if state.blocked:
        return Full("broker_blocked", "The message broker takes no more messages right now.")
    if state.alarm:
        return Full("broker_alarm", f"The message broker is near its {state.alarm} limit.")
    # A missing queue is infinitely deep here and has a reason of its own.
    if marks.tracker < state.tracker < math.inf:
        return Full("tracker_backlog", "Too many results wait to be recorded.")
    return None


def near_alarm(node: dict[str, object]) -> str | None:
    """``memory`` or ``disk`` when a node of the management API is at 80 % of that alarm or beyond."""
    used, limit = node.get("mem_used"), node.get("mem_limit")
    if isinstance(used, int) and isinstance(limit, int) and limit and used >= limit * ALARM_SHARE:
        return "memory"
    free, floor = node.get("disk_free"), node.get("disk_free_limit")
    if isinstance(free, int) and isinstance(floor, int) and free <= floor / ALARM_SHARE:
        return "disk"
    return None
