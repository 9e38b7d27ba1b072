"""Questions to the DNS about our own names. Nothing is kept: who asks wants to see what was just changed."""

import asyncio
from dataclasses import dataclass

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdata
import dns.rdatatype
import dns.resolver
import dns.reversename
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.ANY.TXT import TXT

from mailwarren.sender.smtp.mx import nameserver

TIMEOUT = 5.0
"""Seconds for one question, all servers and repetitions included."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a name has: nothing is an answer too. ``trouble`` is why there was none."""

    values: tuple[str, ...] = ()
    trouble: str | None = None


class Dns:
    """Asks.

    Args:
        server: ``address``, ``address:port`` or ``[address]:port``; None: the system's.
        timeout: Seconds for a question.

    Raises:
        ValueError: the server is not an IP address with an optional port.
    """

    def __init__(self, server: str | None = None, timeout: float = TIMEOUT) -> None:
        self._servers = None if server is None else [nameserver(server)]
        self._timeout = timeout
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def texts(self, name: str) -> Found:
        """The TXT records of a name, each joined from its strings."""
        return await self._ask(name, dns.rdatatype.TXT)

    async def exchanges(self, name: str) -> Found:
        """The hosts of a name's MX records."""
        return await self._ask(name, dns.rdatatype.MX)

    async def addresses(self, name: str) -> Found:
        """The addresses of a name, of both families."""
        found = await asyncio.gather(self._ask(name, dns.rdatatype.A), self._ask(name, dns.rdatatype.AAAA))
        values = tuple(value for one in found for value in one.values)
        trouble = next((one.trouble for one in found if one.trouble is not None), None)
        return Found(values, None if values else trouble)

    async def names(self, address: str) -> Found:
        """The names that the reverse DNS has for an address."""
        return await self._ask(dns.reversename.from_address(address).to_text(), dns.rdatatype.PTR)

    async def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> Found:
        try:
            question = dns.name.from_text(name, origin=dns.name.root)
            answer = await self._asked().resolve(
                question, kind, raise_on_no_answer=False, lifetime=self._timeout, search=False
            )
        except dns.resolver.NXDOMAIN:
            return Found()
        except dns.exception.DNSException as error:
            return Found(trouble=f"no answer for {name}: {type(error).__name__}")
        return Found(() if answer.rrset is None else tuple(_text(record) for record in answer.rrset))

    def _asked(self) -> dns.asyncresolver.Resolver:
        # Made with the first question: it reads the system's configuration, which may be missing where nobody asks.
        if self._resolver is None:
            resolver = dns.asyncresolver.Resolver(configure=self._servers is None)
            if self._servers is not None:
                resolver.nameservers = list(self._servers)
            self._resolver = resolver
        return self._resolver


def _text(record: dns.rdata.Rdata) -> str:
    if isinstance(record, TXT):
        return b"".join(record.strings).decode("utf-8", "replace")
    if isinstance(record, MX):
        return str(record.exchange.to_text(omit_final_dot=True)).lower()
    if isinstance(record, PTR):
        return str(record.target.to_text(omit_final_dot=True)).lower()
    return record.to_text()
