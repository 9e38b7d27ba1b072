"""What of a script's timeline is over, in force, and still to come: pure, told the time."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from mailwarren.sink.persona import Persona
from mailwarren.sink.script import Event


class State(StrEnum):
    """How far an event is."""

    COMING = "coming"
    IN_FORCE = "in_force"
    OVER = "over"
    CANCELED = "canceled"


class Scheduled(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event with its number, and its beginning and end in Unix time (no end: until the script ends)."""

    id: int
    state: State
    starts_at: float
    ends_at: float | None
    persona: Persona


class _Entry(msgspec.Struct):
    event: Event
    starts_at: float
    ends_at: float | None
    canceled: bool = False

    def state(self, now: float) -> State:
        if self.canceled:
            return State.CANCELED
        if now < self.starts_at:
            return State.COMING
        return State.IN_FORCE if self.ends_at is None or now < self.ends_at else State.OVER


class Timeline:
    """The events of one script, numbered from 1."""

    def __init__(self, events: Iterable[Event], started_at: float) -> None:
        self._entries: list[_Entry] = []
        for event in events:
            self.add(event, started_at)

    def add(self, event: Event, started_at: float) -> int:
        """One more event, whose time counts from ``started_at``; returns its number."""
        starts_at = started_at + event.at_s
        ends_at = None if event.for_s is None else starts_at + event.for_s
        self._entries.append(_Entry(event, starts_at, ends_at))
        return len(self._entries)

    def cancel(self, number: int) -> bool:
        """End an event, or let it never begin; false when there is none of this number."""
        if not 1 <= number <= len(self._entries):
            return False
        self._entries[number - 1].canceled = True
        return True

    def in_force(self, now: float) -> list[tuple[str, Persona]]:
        """The personas that stand in front now, the latest first, each with what tells its draws from others'."""
        entries = enumerate(self._entries, 1)
        there = [(e.starts_at, n, e.event.persona) for n, e in entries if e.state(now) is State.IN_FORCE]
        return [(f"t{n}", persona) for _, n, persona in sorted(there, key=lambda one: one[:2], reverse=True)]

    def next_change(self, now: float) -> float | None:
        """When the next event begins or ends."""
        times = (t for e in self._entries if not e.canceled for t in (e.starts_at, e.ends_at) if t is not None)
        return min((t for t in times if t > now), default=None)

    def scheduled(self, now: float) -> list[Scheduled]:
        """All events, in the order of their numbers."""
        return [
            Scheduled(number, e.state(now), e.starts_at, e.ends_at, e.event.persona)
            for number, e in enumerate(self._entries, 1)
        ]
