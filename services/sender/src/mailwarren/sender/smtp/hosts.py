"""Which hosts of a site to try, in which order, and which to leave alone for a while."""

import ipaddress
import random
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from mailwarren.contracts.reply import Reply
from mailwarren.sender.smtp.result import NoSession
from mailwarren.sender.smtp.site import Host

MOST_TRIED = 5
"""Addresses tried for one connection."""

MOST_TRIED_PER_HOST = 2
"""Of these, addresses of one host name, so that a dead host with many addresses does not hide its backup."""

REMEMBERED = 10_000
"""Hosts whose trouble is remembered; the oldest are forgotten."""

_MOST_DOUBLINGS = 30

_Key = tuple[Host, str]
"""A host, and the route that has trouble with it; an empty one is all."""


@dataclass(slots=True)
class _Trouble:
    until: float
    failures: int
    failure: NoSession


class HostHealth:
    """Remembers for seconds which hosts gave no session, so that not every mail finds out anew.

    Args:
        first_hold: Seconds that a host is skipped after its first failure; doubled with each failure in a row.
        longest_hold: Seconds at most.
        rng: Chooses among hosts of equal preference (RFC 5321 §5.1).
    """

    def __init__(self, *, first_hold: float, longest_hold: float, rng: random.Random) -> None:
        self._first_hold = first_hold
        self._longest_hold = longest_hold
        self._rng = rng
        self._troubles: OrderedDict[_Key, _Trouble] = OrderedDict()

    def order(self, hosts: Sequence[Host], now: float, route: str = "") -> list[Host]:
        """Hosts to try, best first: by preference, then at random by name; IPv4 before IPv6 of the same name.

        Hosts in trouble, also such as concerns ``route`` alone, are left out, unless all are.
        """
        rank = {host.name: self._rng.random() for host in hosts}
        usable = [host for host in hosts if self._held(host, now, route) is None] or list(hosts)
        usable.sort(key=lambda host: (host.preference, rank[host.name], _is_ipv6(host), self._rng.random()))
        chosen: list[Host] = []
        tried: Counter[str] = Counter()
        for host in usable:
            if tried[host.name] < MOST_TRIED_PER_HOST and len(chosen) < MOST_TRIED:
                tried[host.name] += 1
                chosen.append(host)
        return chosen

    def failure(self, hosts: Sequence[Host], now: float, route: str = "") -> NoSession | None:
        """What the last tries came to when every host is held; None when there is one to try."""
        if not self._troubles:
            return None
        found = [self._held(host, now, route) for host in hosts]
        failures = [trouble.failure for trouble in found if trouble is not None]
        return most_hopeful(failures) if len(failures) == len(found) else None

    def failed(self, host: Host, failure: NoSession, now: float, route: str = "") -> None:
        """``host`` gave no session; with a ``route`` none for that one, which says nothing of others."""
        key = host, route
        trouble = self._troubles.pop(key, None)
        failures = trouble.failures + 1 if trouble else 1
        hold = min(self._first_hold * 2.0 ** min(failures - 1, _MOST_DOUBLINGS), self._longest_hold)
        self._troubles[key] = _Trouble(now + hold, failures, failure)
        if len(self._troubles) > REMEMBERED:
            self._troubles.popitem(last=False)

    def worked(self, host: Host, route: str = "") -> None:
        """``host`` gave a session."""
        self._troubles.pop((host, ""), None)
        self._troubles.pop((host, route), None)

    def _held(self, host: Host, now: float, route: str) -> _Trouble | None:
        for key in ((host, ""), (host, route)):
            trouble = self._troubles.get(key)
            if trouble is not None and now < trouble.until:
                return trouble
        return None


def most_hopeful(failures: Sequence[NoSession]) -> NoSession:
    """Choose the failure that stands for all: a refusal for good counts only when no host left any hope.

    A backup MX that answers 554 says nothing about a primary that is down for a minute.
    """

    def despair(tried: NoSession) -> int:
        failure = tried.failure
        if not isinstance(failure, Reply):
            return 1
        return 0 if failure.transient else 2

    return min(failures, key=despair)


def _is_ipv6(host: Host) -> bool:
    return host.address is not None and ipaddress.ip_address(host.address).version == 6  # noqa: PLR2004
