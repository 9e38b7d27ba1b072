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
        self._troubles: OrderedDict[Host, _Trouble] = OrderedDict()

    def order(self, hosts: Sequence[Host], now: float) -> list[Host]:
        """Hosts to try, best first: by preference, then at random by name; IPv4 before IPv6 of the same name.

        Hosts in trouble are left out, unless all are.
        """
        rank = {host.name: self._rng.random() for host in hosts}
        usable = [host for host in hosts if not self._held(host, now)] or list(hosts)
        usable.sort(key=lambda host: (host.preference, rank[host.name], _is_ipv6(host), self._rng.random()))
        chosen: list[Host] = []
        tried: Counter[str] = Counter()
        for host in usable:
            if tried[host.name] < MOST_TRIED_PER_HOST and len(chosen) < MOST_TRIED:
                tried[host.name] += 1
                chosen.append(host)
        return chosen

    def failure(self, hosts: Sequence[Host], now: float) -> NoSession | None:
        """What the last tries came to when every host is held; None when there is one to try."""
        if not self._troubles:
            return None
        if all(self._held(host, now) for host in hosts):
            return most_hopeful([self._troubles[host].failure for host in hosts])
        return None

    def failed(self, host: Host, failure: NoSession, now: float) -> None:
        """``host`` gave no session."""
        trouble = self._troubles.pop(host, None)
        failures = trouble.failures + 1 if trouble else 1
        hold = min(self._first_hold * 2.0 ** min(failures - 1, _MOST_DOUBLINGS), self._longest_hold)
        self._troubles[host] = _Trouble(now + hold, failures, failure)
        if len(self._troubles) > REMEMBERED:
            self._troubles.popitem(last=False)

    def worked(self, host: Host) -> None:
        """``host`` gave a session."""
        self._troubles.pop(host, None)

    def _held(self, host: Host, now: float) -> bool:
        trouble = self._troubles.get(host)
        return trouble is not None and now < trouble.until


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
