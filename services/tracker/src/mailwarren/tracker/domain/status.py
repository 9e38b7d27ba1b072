"""The state machine of a delivery (DESIGN §4, stop 13): (what is known, what happened) gives what is known now.

Events come twice (a redelivery, or two senders that made the same attempt) and out of order (an outcome overtakes its
acceptance; a dead letter overtakes the deferral before it). Every pair of state and kind has a named rule in
:data:`TRANSITIONS`, and the rules are chosen so that any order and any number of repetitions of the same events end
in the same state.
"""

from enum import Enum, auto
from typing import assert_never

import msgspec

from mailwarren.contracts.events import Kind
from mailwarren.store.states import ENDS, State


class Status(msgspec.Struct, frozen=True, gc=False):
    """What is known of a delivery.

    ``attempt``, ``started`` and ``parked`` are the highest attempt numbers that had an outcome (a deferral or an
    end), that wrote mail data, and that were set aside; 0 for none. ``ended_at`` (Unix seconds) is when the end that
    counts happened.
    """

    state: State
    attempt: int = 0
    started: int = 0
    parked: int = 0
    ended_at: float | None = None


class Rule(Enum):
    """What an event does to a state."""

    ENTER = auto()
    """The delivery takes the state of the event."""
    KEEP = auto()
    """Nothing new: a repetition, or overtaken by what is known."""
    PROOF = auto()
    """A sender has it, so the broker has taken it after all: ``unconfirmed`` becomes ``accepted``."""
    UNLESS_STARTED = auto()
    """Enter, unless a sender has it already."""
    IF_NOT_TRIED = auto()
    """Enter, unless the attempt in whose stead the parcel was set aside has had an outcome since."""
    IF_REPLAYED = auto()
    """Enter, unless the parcel was set aside later, before a later attempt than this one."""
    IF_FIRST = auto()
    """Two ends: the one that happened first counts, whichever is reported first."""


_ENTER_AN_END = {Kind(end): Rule.ENTER for end in ENDS}
_ENDED: dict[Kind, Rule] = {
    **{Kind(end): Rule.IF_FIRST for end in ENDS},
    # The yes of a duplicate attempt is the truth: the mail was delivered.
    Kind.DELIVERED: Rule.ENTER,
    Kind.STARTED: Rule.KEEP,
    Kind.DEFERRED: Rule.KEEP,
    Kind.PARKED: Rule.KEEP,
    Kind.UNCONFIRMED: Rule.KEEP,
}

TRANSITIONS: dict[State, dict[Kind, Rule]] = {
    State.ACCEPTED: {
        **_ENTER_AN_END,
        Kind.STARTED: Rule.KEEP,
        Kind.DEFERRED: Rule.ENTER,
        Kind.PARKED: Rule.ENTER,
        Kind.UNCONFIRMED: Rule.UNLESS_STARTED,
    },
    State.UNCONFIRMED: {
        **_ENTER_AN_END,
        Kind.STARTED: Rule.PROOF,
        Kind.DEFERRED: Rule.ENTER,
        Kind.PARKED: Rule.ENTER,
        Kind.UNCONFIRMED: Rule.KEEP,
    },
    State.DEFERRED: {
        **_ENTER_AN_END,
        Kind.STARTED: Rule.KEEP,
        Kind.DEFERRED: Rule.KEEP,  # a later attempt is noted, an earlier one is not
        Kind.PARKED: Rule.IF_NOT_TRIED,
        Kind.UNCONFIRMED: Rule.KEEP,
    },
    State.PARKED: {
        **_ENTER_AN_END,
        Kind.STARTED: Rule.KEEP,
        Kind.DEFERRED: Rule.IF_REPLAYED,
        Kind.PARKED: Rule.KEEP,
        Kind.UNCONFIRMED: Rule.KEEP,
    },
    State.DELIVERED: {
        **dict.fromkeys(Kind, Rule.KEEP),
        Kind.DELIVERED: Rule.IF_FIRST,
    },
    State.BOUNCED: _ENDED,
    State.FAILED: _ENDED,
    State.EXPIRED: _ENDED,
    State.CANCELED: _ENDED,
    State.SUPPRESSED: _ENDED,
    State.HELD: _ENDED,
}
"""The rule for every state and kind of event."""

UNHEARD = Status(State.ACCEPTED)
"""A delivery of which an event is the first that is heard: somebody must have accepted it."""

_OUTCOMES = frozenset({Kind.DEFERRED, *(Kind(end) for end in ENDS)})
_ORDER = {state: index for index, state in enumerate(State)}
_ENTERED = {Kind(state): state for state in State if state is not State.ACCEPTED}
"""The state that a kind of event leads to. Looked up, for to make an enum's member of its value is slow."""


def next_status(known: Status, kind: Kind, attempt: int, at: float) -> Status:
    """What is known after an event of ``kind`` in ``attempt`` that happened ``at`` (Unix seconds).

    Returns ``known`` itself when the event says nothing new.
    """
    state, ended_at = known.state, known.ended_at
    target = _target(TRANSITIONS[state][kind], known, kind, attempt, at)
    if target is not None:
        state, ended_at = target, at if target in ENDS else None
    result = Status(
        state,
        max(known.attempt, attempt) if kind in _OUTCOMES else known.attempt,
        max(known.started, attempt) if kind is Kind.STARTED else known.started,
        max(known.parked, attempt) if kind is Kind.PARKED else known.parked,
        ended_at,
    )
    return known if result == known else result


def surely_new(known: Status, kind: Kind, attempt: int) -> bool:
    """Whether an event cannot have been recorded before, so that nobody needs to look.

    True in the common case (a higher attempt than any recorded of its sort), false when only the table of events
    can tell.
    """
    if kind in _OUTCOMES:
        return attempt > known.attempt
    if kind is Kind.STARTED:
        return attempt > known.started
    return kind is Kind.PARKED and attempt > known.parked


def _target(rule: Rule, known: Status, kind: Kind, attempt: int, at: float) -> State | None:
    """The state that is entered, None when the delivery stays as it is."""
    match rule:
        case Rule.KEEP:
            enters = False
        case Rule.PROOF:
            return State.ACCEPTED
        case Rule.ENTER:
            enters = True
        case Rule.UNLESS_STARTED:
            enters = known.started == 0
        case Rule.IF_NOT_TRIED:
            enters = attempt > known.attempt
        case Rule.IF_REPLAYED:
            enters = attempt >= known.parked
        case Rule.IF_FIRST:
            enters = known.ended_at is None or (at, _ORDER[_ENTERED[kind]]) < (known.ended_at, _ORDER[known.state])
        case _:
            assert_never(rule)
    return _ENTERED[kind] if enters else None
