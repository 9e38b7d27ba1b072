"""A person's override: what a call asks for, as an entry of the control log."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shaping import LONGEST_OVERRIDE, SAMPLE_LENGTH, Override, Scope
from mailwarren.contracts.sites import SMARTHOST, site_trouble
from mailwarren.ingest.domain.refusal import Refusal, invalid, missing
from mailwarren.ingest.domain.requests import ShapingBody
from mailwarren.ingest.domain.spans import parse_rate, parse_span, show_span

SHORTEST = 1.0
"""Seconds: an override reaches the senders within two."""
MOST_CONNECTIONS = 10_000
MOST_RATE = 1_000_000.0


@dataclass(frozen=True, slots=True)
class Held:
    """An override as the ledger has it."""

    id: UUID
    scope: Scope
    name: str
    since: datetime
    until: datetime
    suspend: bool
    connections: int | None
    rate: float | None
    cause: str
    sample: str
    ended_at: datetime | None = None
    ended_by: str | None = None
    lane: Lane | None = None
    """The only one of a tenant's that it is about."""

    def in_force(self, now: datetime) -> bool:
        """Whether it holds at a moment."""
        return now < self.until and (self.ended_at is None or now < self.ended_at)

    @property
    def says(self) -> str:
        """What it does, for people."""
        if self.suspend:
            return "suspended" if self.lane is None else f"suspended ({self.lane} lane)"
        limits = []
        if self.rate is not None:
            limits.append(show_rate(self.rate))
        if self.connections is not None:
            limits.append(f"{self.connections} connection{'s' if self.connections != 1 else ''} at most")
        return "limited to " + ", ".join(limits or ["nothing that is known here"])


def plan_override(body: ShapingBody, *, now: float, ident: UUID, who: str) -> Override:
    """The override that a call asks for.

    Raises:
        Refusal: 422 naming the field.
    """
    name = _name(body)
    given = [field for field in ("suspend", "rate", "connections") if getattr(body, field) not in (None, False)]
    if not given:
        raise missing("Missing `suspend`, `rate` or `connections` field: say what to do.")
    if "suspend" in given and len(given) > 1:
        raise invalid(f"The `suspend` field cannot be used with `{given[1]}`: nothing is sent while it holds.")
    if body.scope is Scope.TENANT and "suspend" not in given:
        raise invalid(f"The `{given[0]}` field is for sites: a tenant can only be suspended.")
    reason = (body.reason or "").strip()
    if len(reason) > SAMPLE_LENGTH or not reason.isprintable():
        raise invalid(f"Invalid `reason` field: at most {SAMPLE_LENGTH} printable characters.")
    return Override(
        id=ident,
        scope=body.scope,
        name=name,
        since=now,
        until=now + _lasts(body),
        suspend="suspend" in given,
        connections=_connections(body.connections),
        rate=None if body.rate is None else _rate(body.rate),
        cause=f"person:{who}"[:SAMPLE_LENGTH],
        sample=reason,
    )


def show_rate(rate: float) -> str:
    """A rate for people, in the unit in which it is a number of some size."""
    for seconds, unit in ((1, "s"), (60, "min"), (3600, "h")):
        if rate * seconds >= 1:
            return f"{rate * seconds:.3g} mails/{unit}"
    return f"{rate * 86400:.3g} mails/d"


def _name(body: ShapingBody) -> str:
    if body.scope is Scope.TENANT:
        try:
            return str(UUID(body.name))
        except ValueError as error:
            raise invalid("Invalid `name` field: a tenant is named by its id, a UUID.") from error
    name = body.name.strip().lower()
    if name != SMARTHOST and (trouble := site_trouble(name)) is not None:
        raise invalid(f"Invalid `name` field: {name[:80]!r} {trouble}.")
    return name


def _lasts(body: ShapingBody) -> float:
    try:
        lasts = parse_span(body.for_)
    except ValueError as error:
        raise invalid(f"Invalid `for` field: {error}.") from error
    if not SHORTEST <= lasts <= LONGEST_OVERRIDE:
        raise invalid(
            f"Invalid `for` field: from {show_span(SHORTEST)} to {show_span(LONGEST_OVERRIDE)}. What is to hold longer "
            "is a row of shaping.toml."
        )
    return lasts


def _connections(value: int | None) -> int | None:
    if value is not None and not 1 <= value <= MOST_CONNECTIONS:
        raise invalid(f"Invalid `connections` field: 1 to {MOST_CONNECTIONS}; for none use `suspend`.")
    return value


def _rate(value: float | str) -> float:
    try:
        rate = parse_rate(value)
    except ValueError as error:
        raise invalid(f"Invalid `rate` field: {error}.") from error
    if rate > MOST_RATE:
        raise invalid(f"Invalid `rate` field: at most {MOST_RATE:.0f} mails a second.")
    return rate


def ended_already(held: Held, now: datetime) -> Refusal:
    """422: there is nothing to end."""
    when = held.until if held.ended_at is None else min(held.ended_at, held.until)
    return invalid(f"This override has ended already, {show_span((now - when).total_seconds())} ago.")
