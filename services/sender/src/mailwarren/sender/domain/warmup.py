"""Warm-up: how many mails an egress may send to a site on a day, and what of that has been given out (ADR 0036)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from mailwarren.contracts.egress import Reservation

Counted = tuple[str, str, int]
"""What is counted together: an egress, a site, a day."""

MOST_AT_ONCE = 500
"""Mails that one reservation asks for at most."""
PARTS = 20
"""Parts in which a day's number is given out, about: a sender that dies loses what it had left of one."""
EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class WarmUp:
    """A declared curve: mails on the first day, the second, …; after its last day any number goes.

    Attributes:
        since: The first day (UTC); nothing is sent before it.
        days: Mails a day to each site.
        sites: For these sites other numbers.
    """

    since: date
    days: tuple[int, ...]
    sites: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def most(self, site: str, day: int) -> int | None:
        """Mails to a site on a day, counted since 1970; None is any number."""
        number = day - (self.since - EPOCH).days
        if number < 0:
            return 0
        days = self.sites.get(site, self.days)
        return days[number] if number < len(days) else None

    @property
    def warm_on(self) -> date:
        """The first day on which any number goes to every site."""
        return self.since + timedelta(days=max(len(self.days), *map(len, self.sites.values()), 0))


def end_of_day(day: int) -> float:
    """The Unix time at which the next day begins."""
    return datetime.combine(EPOCH + timedelta(days=day + 1), time(), UTC).timestamp()


def part_of(most: int) -> int:
    """Mails to ask for at once, of a day's number."""
    return max(1, min(MOST_AT_ONCE, most // PARTS))


class Reservations:
    """What has been given out, by the log. Whoever has read the same entries in the same order knows the same."""

    def __init__(self) -> None:
        self._taken: dict[Counted, int] = {}
        self._seen: dict[int, set[UUID]] = {}

    def apply(self, entry: Reservation, today: int) -> int:
        """Take note of an entry: mails that it was granted, below 0 what it gave back.

        Entries of long ago count for nothing, and neither do those of days to come: clocks differ by less.
        """
        if not today - 1 <= entry.day <= today + 1:
            return 0
        self._forget(today)
        seen = self._seen.setdefault(entry.day, set())
        if entry.id in seen:
            return 0
        seen.add(entry.id)
        key = entry.egress, entry.site, entry.day
        taken = self._taken.get(key, 0)
        given = max(0, min(entry.count, entry.most - taken)) if entry.count >= 0 else -min(-entry.count, taken)
        self._taken[key] = taken + given
        return given

    def taken(self, key: Counted) -> int:
        """Mails that senders have taken together."""
        return self._taken.get(key, 0)

    def of_day(self, day: int) -> dict[tuple[str, str], int]:
        """The same of all egresses and sites of a day."""
        return {(egress, site): taken for (egress, site, of), taken in self._taken.items() if of == day}

    def _forget(self, today: int) -> None:
        if any(day < today - 1 for day in self._seen):
            self._seen = {day: seen for day, seen in self._seen.items() if day >= today - 1}
            self._taken = {key: taken for key, taken in self._taken.items() if key[2] >= today - 1}
