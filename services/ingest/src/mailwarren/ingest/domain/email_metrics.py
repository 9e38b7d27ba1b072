"""What is asked for by ``GET /v1/emails/metrics``, and counts as its answer has them. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from mailwarren.contracts.counters import QUARTER, quarter_of
from mailwarren.ingest.domain.cursor import parse_id
from mailwarren.ingest.domain.refusal import Refusal, invalid_parameter

MOST_IDS = 100
"""Of a filter."""
MOST_ROWS = 10_000
"""Of an answer."""
DEFAULT_DAYS = timedelta(days=6)
_KNOWN = (
    "start_date", "end_date", "timezone", "granularity", "metrics", "dimensions", "domain_id", "email_id",
    "broadcast_id",
)  # fmt: skip
_BOUNCES = ("bounced_transient", "bounced_permanent", "bounced_undetermined")
RATES: Mapping[str, tuple[str, str]] = {
    "delivery_rate": ("delivered", "sent"),
    "open_rate": ("unique_opened", "delivered"),
    "click_rate": ("unique_clicked", "delivered"),
    "bounce_rate": ("bounced", "sent"),
    "complaint_rate": ("complained", "delivered"),
    "unsubscribe_rate": ("unsubscribed", "delivered"),
}
"""What each is the percentage of."""
METRICS = (
    "received", "delivered", "complained", "suppressed", "bounced", *_BOUNCES, "opened", "clicked", "unsubscribed",
    "delivery_delayed", "failed", "sent", "unique_opened", "unique_clicked", *RATES,
)  # fmt: skip


class Granularity(StrEnum):
    """The length of a period. Weeks begin on Mondays."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


class Dimension(StrEnum):
    """What rows are about."""

    PERIOD = "period"
    DOMAIN = "domain"
    EMAIL = "email"
    BROADCAST = "broadcast"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which counts, of which time, broken down by what. ``start`` and ``end`` are in UTC.

    Empty filters let everything through.
    """

    start: datetime
    end: datetime
    zone: ZoneInfo
    granularity: Granularity
    metrics: tuple[str, ...]
    dimensions: tuple[Dimension, ...]
    domains: tuple[UUID, ...] = ()
    emails: tuple[UUID, ...] = ()
    broadcasts: tuple[UUID, ...] = ()

    @property
    def first(self) -> datetime:
        """The beginning of the first quarter of an hour."""
        return datetime.fromtimestamp(quarter_of(self.start.timestamp()), UTC)

    @property
    def past(self) -> datetime:
        """The end of the last one, which may still be going on."""
        return datetime.fromtimestamp(-(-self.end.timestamp() // QUARTER) * QUARTER, UTC)

    @property
    def by_domain(self) -> bool:
        """Whether the domains of senders matter."""
        return bool(self.domains) or Dimension.DOMAIN in self.dimensions

    @property
    def by_email(self) -> bool:
        """Whether single emails do, of which there are no counters."""
        return bool(self.emails) or Dimension.EMAIL in self.dimensions

    def periods(self) -> list[datetime]:
        """The beginnings of the periods, in UTC; one for all of the time unless they are a dimension.

        Raises:
            Refusal: 422, too many.
        """
        if Dimension.PERIOD not in self.dimensions:
            return [self.first]
        found = []
        local = self.first.astimezone(self.zone)
        at = _begun(local, self.granularity)
        while (moment := at.astimezone(UTC)) < self.past:
            found.append(moment)
            if len(found) > MOST_ROWS:
                raise too_much()
            at = _after(at, self.granularity, self.zone)
        return found

    def name_of(self, period: datetime) -> str:
        """A period as the answer names it: its first day, or its hour with the offset of the time zone."""
        local = period.astimezone(self.zone)
        return local.isoformat() if self.granularity is Granularity.HOURLY else local.date().isoformat()


@dataclass(slots=True)
class Counted:
    """A row of the answer. ``key`` has the fields of its dimensions."""

    key: Mapping[str, Any]
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, counts: Mapping[str, int]) -> None:
        """Add counters by their names."""
        for name, number in counts.items():
            self.counts[name] = self.counts.get(name, 0) + number

    def shown(self, metrics: Iterable[str]) -> dict[str, Any]:
        """The metrics that were asked for, after the key."""
        return {**self.key, **{name: self._value(name) for name in metrics}}

    def _value(self, name: str) -> float:
        if name == "bounced":
            return sum(self.counts.get(part, 0) for part in _BOUNCES)
        if (parts := RATES.get(name)) is None:
            return self.counts.get(name, 0)
        part, whole = (self._value(one) for one in parts)
        return round(100 * part / whole, 2) if whole else 0.0


def parse_wanted(query: Mapping[str, str], now: datetime) -> Wanted:
    """What a query string asks for.

    Args:
        query: the parameters; lists are separated by commas.
        now: with a time zone.

    Raises:
        Refusal: 422 naming the parameter.
    """
    if unknown := set(query).difference(_KNOWN):
        raise invalid_parameter(
            f"Unknown query parameters: {', '.join(sorted(unknown))}; there are {', '.join(_KNOWN)}."
        )
    zone = _zone(query.get("timezone") or "UTC")
    end = min(_moment(query, "end_date", zone, whole=True) or now, now)
    start = _moment(query, "start_date", zone) or end - DEFAULT_DAYS
    if start > end:
        raise invalid_parameter("The `start_date` parameter is after `end_date`, or in the future.")
    dimensions = tuple(Dimension(name) for name in _names(query, "dimensions", [*Dimension]))
    wanted = Wanted(
        start=start,
        end=end,
        zone=zone,
        granularity=Granularity(_one(query, "granularity", [*Granularity], Granularity.DAILY)),
        metrics=_names(query, "metrics", METRICS) or METRICS,
        dimensions=dimensions,
        domains=_ids(query, "domain_id"),
        emails=_ids(query, "email_id"),
        broadcasts=_ids(query, "broadcast_id"),
    )
    if wanted.by_email and (wanted.broadcasts or Dimension.BROADCAST in dimensions):
        raise invalid_parameter(
            "The `broadcast` dimension and `broadcast_id` cannot be used with the `email` dimension or `email_id`."
        )
    return wanted


def registered(names: Mapping[str, UUID], domain: str) -> UUID | None:
    """The id of the sending domain that a sender's domain is, or is below of; the nearest one."""
    while domain:
        if (found := names.get(domain)) is not None:
            return found
        domain = domain.partition(".")[2]
    return None


def too_much() -> Refusal:
    """422: the answer would be too long."""
    return invalid_parameter(
        f"The answer would have more than {MOST_ROWS} rows: ask for less time, longer periods, or name the emails."
    )


def _begun(local: datetime, granularity: Granularity) -> datetime:
    """The beginning of the period that a moment is in."""
    if granularity is Granularity.HOURLY:
        return local.replace(minute=0, second=0, microsecond=0)
    day = local.date()
    if granularity is Granularity.WEEKLY:
        day -= timedelta(days=day.weekday())
    elif granularity is Granularity.MONTHLY:
        day = day.replace(day=1)
    return datetime.combine(day, time(), local.tzinfo)


def _after(at: datetime, granularity: Granularity, zone: ZoneInfo) -> datetime:
    """The beginning of the next period."""
    if granularity is Granularity.HOURLY:
        # By the clock that never jumps.
        return (at.astimezone(UTC) + timedelta(hours=1)).astimezone(zone)
    day = at.date()
    if granularity is Granularity.MONTHLY:
        day = (day + timedelta(days=31)).replace(day=1)
    else:
        day += timedelta(days=7 if granularity is Granularity.WEEKLY else 1)
    return datetime.combine(day, time(), zone)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise invalid_parameter(
            f"The `timezone` parameter is a name like `America/New_York`; `{name[:60]}` is none."
        ) from error


def _moment(query: Mapping[str, str], name: str, zone: ZoneInfo, *, whole: bool = False) -> datetime | None:
    """A time of a query in UTC; a date is its beginning, or with ``whole`` its end. Years are those of mail."""
    if (text := query.get(name)) is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        if not 2000 <= found.year <= 2999:  # noqa: PLR2004
            raise ValueError(text)  # noqa: TRY301 - one message for all
    except ValueError as error:
        raise invalid_parameter(
            f"The `{name}` parameter is a date like 2026-11-22, or a time like 2026-11-22T09:00:00Z; "
            f"`{text[:40]}` is none."
        ) from error
    if len(text) <= len("2026-11-22") and whole:
        found += timedelta(days=1)
    return (found.replace(tzinfo=zone) if found.tzinfo is None else found).astimezone(UTC)


def _one(query: Mapping[str, str], name: str, allowed: Collection[str], default: str) -> str:
    found = query.get(name, default)
    if found not in allowed:
        raise invalid_parameter(f"The `{name}` parameter is one of {', '.join(allowed)}.")
    return found


def _names(query: Mapping[str, str], name: str, allowed: Collection[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(part.strip() for part in query.get(name, "").split(",") if part.strip()))
    if unknown := [part for part in found if part not in allowed]:
        raise invalid_parameter(
            f"The `{name}` parameter has some of {', '.join(allowed)}, with commas between; not `{unknown[0][:60]}`."
        )
    return found


def _ids(query: Mapping[str, str], name: str) -> tuple[UUID, ...]:
    found = tuple(
        dict.fromkeys(parse_id(part.strip(), name) for part in query.get(name, "").split(",") if part.strip())
    )
    if len(found) > MOST_IDS:
        raise invalid_parameter(f"The `{name}` parameter has at most {MOST_IDS} ids.")
    return found
