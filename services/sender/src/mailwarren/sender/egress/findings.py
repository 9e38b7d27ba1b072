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
"""Names of the reverse DNS that are looked up again."""
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
    found = await asyncio.gather(*(_look_at(egress, address, helo, senders, dns) for address in egress.addresses))
    return [finding for findings in found for finding in findings]


async def _look_at(egress: Egress, address: str, helo: Found, senders: Sequence[str], dns: Dns) -> list[Finding]:
    name = egress.source.helo
    reverse, *spf = await asyncio.gather(
        _reverse(egress, address, dns),
        _spf(egress, address, name, f"postmaster@{name}", _BEARABLE, dns),
        *(_spf(egress, address, one, f"postmaster@{one}", frozenset({Verdict.PASS}), dns) for one in senders),
    )
    leads = _is_among(address, helo.values)
    shown = helo.trouble or _shown(helo.values)
    own = Finding(
        egress.name,
        Check.HELO,
        address,
        f"{name} to have the address {address}",
        shown,
        None if helo.trouble is not None else leads,
    )
    return [reverse, own, *spf]


async def _reverse(egress: Egress, address: str, dns: Dns) -> Finding:
    """Forward-confirmed reverse DNS: the name that is said is one of those that the address has, and leads back."""
    helo = egress.source.helo
    expected = f"{helo}, which leads back to {address}"
    names = await dns.names(address)
    if names.trouble is not None:
        return Finding(egress.name, Check.REVERSE_DNS, address, expected, names.trouble, None)
    if helo not in names.values:
        return Finding(egress.name, Check.REVERSE_DNS, address, expected, _shown(names.values[:MOST_NAMES]), passed=False)
    back = await dns.addresses(helo)
    leads = _is_among(address, back.values)
    found = f"{helo}, which has {back.trouble or _shown(back.values)}"
    return Finding(egress.name, Check.REVERSE_DNS, address, expected, found, None if back.trouble is not None else leads)


async def _spf(
    egress: Egress, address: str, domain: str, sender: str, accepted: frozenset[Verdict], dns: Dns
) -> Finding:
    verdict, reason = await check_host(dns, address, domain, sender)
    expected = f"{domain} to pass it" if Verdict.NONE not in accepted else f"{domain} not to refuse it"
    passed = None if verdict is Verdict.TEMPERROR else verdict in accepted
    return Finding(egress.name, Check.SPF, address, expected, f"{verdict} ({reason})", passed)


def _is_among(address: str, values: Iterable[str]) -> bool:
    wanted = ipaddress.ip_address(address)
    return any(ipaddress.ip_address(value) == wanted for value in values)


def _shown(values: Sequence[str]) -> str:
    return ", ".join(values) or "nothing"
