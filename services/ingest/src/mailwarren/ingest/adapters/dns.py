"""Questions to the DNS about a domain's records. Nothing is kept: who asks wants to see what they just changed."""

import ipaddress
from typing import Any
from urllib.parse import urlsplit

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver

from mailwarren.ingest.domain.dns_records import Found

TIMEOUT = 5.0
"""Seconds for one question, all servers and repetitions included."""
MOST_ALIASES = 5
"""Of a chain that are shown."""


class Dns:
    """Asks.

    Args:
        server: ``address``, ``address:port`` or ``[address]:port``; None: the system's.
        timeout: seconds for a question.

    Raises:
        ValueError: the server is not an IP address with an optional port.
    """

    def __init__(self, server: str | None = None, timeout: float = TIMEOUT) -> None:
        self._server = server if server is None else nameserver(server)
        self._timeout = timeout
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def texts(self, name: str) -> Found:
        """The TXT records of a name, each joined from its strings, through any aliases."""
        return await self._ask(name, dns.rdatatype.TXT)

    async def exchanges(self, name: str) -> Found:
        """The MX records of a name, ``10 mail.example.com``."""
        return await self._ask(name, dns.rdatatype.MX)

    async def addresses(self, name: str) -> Found:
        """The IPv4 addresses of a name, or else its IPv6 ones, and the aliases on the way to them."""
        found = await self._ask(name, dns.rdatatype.A)
        return found if found.values or found.trouble else await self._ask(name, dns.rdatatype.AAAA)

    async def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> Found:
        try:
            question = dns.name.from_text(name, origin=dns.name.root)
        except dns.exception.DNSException:
            return Found(trouble=f"{name} is no name that the DNS could have")
        try:
            answer = await self._servers().resolve(
                question, kind, raise_on_no_answer=False, lifetime=self._timeout, search=False
            )
        except dns.resolver.NXDOMAIN:
            return Found()
        except dns.exception.DNSException as error:
            return Found(trouble=f"The DNS did not answer for {name}: {_words(error)}. This says nothing about it.")
        aliases = tuple(
            record.target.to_text(omit_final_dot=True) for alias in answer.chaining_result.cnames for record in alias
        )
        return Found(
            values=() if answer.rrset is None else tuple(_text(record, kind) for record in answer.rrset),
            aliases=aliases[:MOST_ALIASES],
        )

    def _servers(self) -> dns.asyncresolver.Resolver:
        # Made with the first question: it reads the system's configuration, which may be missing where nobody asks.
        if self._resolver is None:
            resolver = dns.asyncresolver.Resolver(configure=self._server is None)
            if self._server is not None:
                resolver.nameservers = [self._server]
            self._resolver = resolver
        return self._resolver


def _text(record: Any, kind: dns.rdatatype.RdataType) -> str:
    if kind in {dns.rdatatype.A, dns.rdatatype.AAAA}:
        return str(record.address)
    if kind == dns.rdatatype.TXT:
        # NUL, which anybody can publish, stands in no text of Postgres.
        return b"".join(record.strings).decode("utf-8", "replace").replace("\0", "\ufffd")
    return f"{record.preference} {record.exchange.to_text(omit_final_dot=True).lower()}"


def _words(error: dns.exception.DNSException) -> str:
    if isinstance(error, dns.exception.Timeout):
        return "no answer in time"
    if isinstance(error, dns.resolver.NoNameservers):
        return "its name servers fail"
    return type(error).__name__


def nameserver(text: str) -> dns.nameserver.Do53Nameserver:
    """The server that a setting names.

    Raises:
        ValueError: it is not an IP address with an optional port.
    """
    parts = urlsplit(f"//[{text}]" if text.count(":") > 1 and "[" not in text else f"//{text}")
    return dns.nameserver.Do53Nameserver(str(ipaddress.ip_address(parts.hostname or "")), parts.port or 53)
