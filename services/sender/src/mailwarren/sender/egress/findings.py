"""Whether an egress is what receivers expect of one: reverse DNS that leads back, a HELO name that is its own, SPF."""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mailwarren.sender.egress.dns import Dns, Found
from mailwarren.sender.egress.plan import Egress
from mailwarren.sender.egress.spf import Verdict, check_host

MOST_NAMES = 10
"""Names of the reverse DNS that are shown."""
_BEARABLE = frozenset({Verdict.PASS, Verdict.NONE, Verdict.NEUTRAL})
"""Of the HELO name, which need not have a record; what it has may not refuse us."""


class Check(StrEnum):
    """What is looked at; a label of metrics."""

    BIND = "bind"
    """Connections can come from the address: it is this host's."""
    REVERSE_DNS = "reverse_dns"
    """The reverse DNS names the HELO name, and that name leads back to the address."""
    HELO = "helo"
    """The HELO name leads to the address."""
    SPF = "spf"
    """SPF passes the address, for the HELO name and for the domains of envelope senders."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one address.

    Attributes:
        egress: The name of the egress.
        check: What was looked at.
        address: The address.
        expected: What should be there.
        found: What is.
        passed: None when nobody can tell, because the DNS did not answer.
    """

    egress: str
    check: Check
    address: str
    expected: str
    found: str
    passed: bool | None

    def __str__(self) -> str:
        """In words, for people."""
        return f"{self.address} {self.check}: expected {self.expected}; found {self.found}"


def try_to_bind(egress: Egress) -> list[Finding]:
    """Whether the addresses that connections are to come from are this host's. Asks the kernel, and nobody else."""
    findings = []
    for address in (egress.source.ipv4, egress.source.ipv6):
        if address is None:
            continue
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.bind((address, 0))
        except OSError as error:
            passed, found = False, error.strerror or str(error)
        else:
            passed, found = True, "it is"
        findings.append(Finding(egress.name, Check.BIND, address, "an address of this host", found, passed))
    return findings


async def look_at(egress: Egress, senders: Sequence[str], dns: Dns) -> list[Finding]:
    """Ask the DNS about an egress as others see it.

    Args:
        egress: The egress.
        senders: Domains of envelope senders.
        dns: Where to ask.
    """
    if not egress.addresses:
        text = "no address is named: say ipv4, ipv6 or public"
        return [Finding(egress.name, Check.REVERSE_DNS, "?", "an address that others see", text, passed=False)]
    helo = await dns.addresses(egress.source.helo)
    looks = (_Look(egress, address, helo, dns) for address in egress.addresses)
    found = await asyncio.gather(*(look.at_all(senders) for look in looks))
    return [finding for findings in found for finding in findings]


@dataclass(frozen=True, slots=True)
class _Look:
    """At one address; ``helo`` are those that the HELO name leads to."""

    egress: Egress
    address: str
    helo: Found
    dns: Dns

    async def at_all(self, senders: Sequence[str]) -> list[Finding]:
        name = self.egress.source.helo
        found = await asyncio.gather(
            self._at_reverse_dns(name),
            self._at_spf(name, own=True),
            *(self._at_spf(sender, own=False) for sender in senders),
        )
        leads = self._finding(
            Check.HELO,
            f"{name} to have the address {self.address}",
            self.helo.trouble or _shown(self.helo.values),
            None if self.helo.trouble is not None else self._is_among(self.helo.values),
        )
        return [leads, *found]

    async def _at_reverse_dns(self, helo: str) -> Finding:
        """Forward-confirmed: the name that is said is one of those that the address has, and leads back to it."""
        expected = f"{helo}, which leads back to {self.address}"
        names = await self.dns.names(self.address)
        if names.trouble is not None:
            return self._finding(Check.REVERSE_DNS, expected, names.trouble, None)
        if helo not in names.values:
            return self._finding(Check.REVERSE_DNS, expected, _shown(names.values[:MOST_NAMES]), passed=False)
        found = f"{helo}, which has {self.helo.trouble or _shown(self.helo.values)}"
        passed = None if self.helo.trouble is not None else self._is_among(self.helo.values)
        return self._finding(Check.REVERSE_DNS, expected, found, passed)

    async def _at_spf(self, domain: str, *, own: bool) -> Finding:
        """Of the HELO name, which need not have a record, or of an envelope sender's domain, which has to pass."""
        verdict, reason = await check_host(self.dns, self.address, domain, f"postmaster@{domain}")
        expected = f"{domain} not to refuse it" if own else f"{domain} to pass it"
        passed = None if verdict is Verdict.TEMPERROR else verdict in (_BEARABLE if own else {Verdict.PASS})
        return self._finding(Check.SPF, expected, f"{verdict} ({reason})", passed)

    def _finding(self, check: Check, expected: str, found: str, passed: bool | None) -> Finding:  # noqa: FBT001 - a value
        return Finding(self.egress.name, check, self.address, expected, found, passed)

    def _is_among(self, values: Iterable[str]) -> bool:
        wanted = ipaddress.ip_address(self.address)
        return any(ipaddress.ip_address(value) == wanted for value in values)


def _shown(values: Sequence[str]) -> str:
    return ", ".join(values) or "nothing"
