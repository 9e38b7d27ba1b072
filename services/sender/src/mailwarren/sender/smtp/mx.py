"""Which hosts take mail for a domain (RFC 5321 §5.1, null MX RFC 7505), by DNS with caches of our own.

With a resolver that validates DNSSEC also what DNS says of their certificates (RFC 7672 §2.2).
"""

import asyncio
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.name
import dns.nameserver
import dns.rdata
import dns.rdatatype
import dns.resolver
from dns.rdtypes.ANY.TXT import TXT

from mailwarren.sender.smtp.dane import Dane, Tlsa
from mailwarren.sender.smtp.domains import ascii_domain
from mailwarren.sender.smtp.lookups import LookupCache

SHORTEST_HOLD = 60.0
LONGEST_HOLD = 3600.0
"""Seconds that an answer is kept, whatever its TTL says."""

NEGATIVE_HOLD = 300.0
"""Seconds that "there is none" is kept."""

TROUBLE_HOLD = 15.0
"""Seconds that a failed lookup is kept: a broken name server is asked a few times a minute, not once per mail."""

MOST_HOSTS = 10
"""Best MX hosts whose addresses are looked up."""

PAYLOAD = 1232
"""Octets of an answer by UDP that no path has to cut; larger ones come by TCP."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

_SERVER = re.compile(
    r"\[(?P<v6>[^\]]+)\](?::(?P<v6port>\d+))?|(?P<v4>[\d.]+)(?::(?P<v4port>\d+))?|(?P<bare>[0-9a-fA-F:.]+)"
)


@dataclass(frozen=True, slots=True)
class MailHost:
    """A host that takes mail for a domain.

    Attributes:
        name: Lower-case host name without trailing dot.
        preference: MX preference; 0 for a domain that is its own mail host.
        addresses: IP addresses, at least one.
        dane: What DNS says of its certificates; None where it says nothing, or not with certainty.
    """

    name: str
    preference: int
    addresses: tuple[str, ...]
    dane: Dane | None = None


@dataclass(frozen=True, slots=True)
class DnsFailure:
    """DNS names no host for a domain.

    Attributes:
        permanent: True when that is the answer, False when there was none or it may well change.
        enhanced: Our enhanced code: 5.1.10 null MX, 5.1.2 no such domain, 5.4.4 no mail host, 4.4.3 lookup failed,
            4.4.4 no MX host has an address.
        text: The reason, for people.
    """

    permanent: bool
    enhanced: str
    text: str


MailHosts = tuple[MailHost, ...] | DnsFailure

NULL_MX = DnsFailure(permanent=True, enhanced="5.1.10", text="The domain accepts no mail (null MX, RFC 7505)")
NO_DOMAIN = DnsFailure(permanent=True, enhanced="5.1.2", text="The domain does not exist")
NO_NAME = DnsFailure(permanent=True, enhanced="5.1.2", text="Not a domain name")
NO_LITERALS = DnsFailure(permanent=True, enhanced="5.1.2", text="Address literals are not served")
NO_HOST = DnsFailure(permanent=True, enhanced="5.4.4", text="The domain has neither MX nor address records")
NO_ADDRESS = DnsFailure(permanent=False, enhanced="4.4.4", text="No mail host of the domain has an address")
NO_PUBLIC = DnsFailure(
    permanent=False,
    enhanced="4.4.4",
    text="No mail host of the domain has an address of a public network (MAILWARREN_PRIVATE_MX would allow it)",
)


class Resolver:
    """Looks up mail hosts; concurrent questions about one domain are one query.

    Args:
        nameservers: ``address``, ``address:port`` or ``[address]:port`` each; None takes the system's.
        timeout: Seconds per query, all servers and repetitions included.
        ipv6: Whether to look for AAAA records.
        private: Whether mail hosts may have addresses of no public network. Whoever owns a domain names its mail hosts,
            and could make us talk to what only we can reach.
        size: Domains, and hosts, kept in the caches.
        tlsa_port: The port of mail hosts whose TLSA records are looked up, where the name servers validate DNSSEC and
            the way to them is trusted; None looks up none.

    Raises:
        ValueError: a name server is not an IP address with an optional port.
    """

    def __init__(
        self,
        nameservers: Sequence[str] | None = None,
        *,
        timeout: float = 10.0,
        ipv6: bool = True,
        private: bool = False,
        size: int = 50_000,
        tlsa_port: int | None = None,
    ) -> None:
        self._resolver = dns.asyncresolver.Resolver(configure=nameservers is None)
        if tlsa_port is not None:
            self._resolver.use_edns(0, dns.flags.DO, PAYLOAD)
            self._resolver.set_flags(dns.flags.RD | dns.flags.AD)
        self._tlsa_port = tlsa_port
        if nameservers is not None:
            self._resolver.nameservers = [nameserver(text) for text in nameservers]
        self._timeout = timeout
        self._private = private
        self._types = (dns.rdatatype.A, dns.rdatatype.AAAA) if ipv6 else (dns.rdatatype.A,)
        self._domains: LookupCache[MailHosts] = LookupCache(self._look_up_domain, size=size)
        self._hosts: LookupCache[_Addresses] = LookupCache(self._look_up_host, size=size)
        self._tlsas: LookupCache[_Tlsas] = LookupCache(self._look_up_tlsa, size=size)

    async def mail_hosts(self, domain: str) -> MailHosts:
        """Return the hosts of ``domain`` with their addresses, or why there are none.

        Best hosts come first, equals by name. The same tuple object is returned as long as it is cached.
        """
        if domain.startswith("["):
            return NO_LITERALS
        try:
            name = ascii_domain(domain)
        except ValueError:
            return NO_NAME
        return await self._domains.get(name)

    async def addresses(self, name: str) -> tuple[str, ...] | DnsFailure:
        """Return the addresses of a host that may be spoken to, or why there are none."""
        found = await self._hosts.get(name)
        return found.values or found.failure or NO_HOST

    async def texts(self, name: str) -> "tuple[tuple[str, ...], float] | DnsFailure":
        """Return the TXT records of ``name``, none is an empty answer, and the seconds that they hold. Not cached."""
        found = await self._query(name, dns.rdatatype.TXT)
        if isinstance(found, DnsFailure):
            return ((), NEGATIVE_HOLD) if found.permanent else found
        return found.values, found.ttl

    async def close(self) -> None:
        """Cancel the lookups under way."""
        await self._domains.close()
        await self._hosts.close()
        await self._tlsas.close()

    async def _look_up_domain(self, name: str) -> tuple[MailHosts, float]:
        records = await self._query(name, dns.rdatatype.MX)
        if isinstance(records, DnsFailure):
            return records, NEGATIVE_HOLD if records.permanent else TROUBLE_HOLD
        if not records.values:
            own = await self._hosts.get(name)
            outcome = _outcome([(0, name)], [own], own.ttl, nothing=NO_HOST)
            return await self._with_dane(name, outcome, {name: own} if records.secure and own.secure else {})
        exchanges = sorted(_exchange(value) for value in records.values)
        if exchanges == [(0, "")]:
            return NULL_MX, NEGATIVE_HOLD
        exchanges = [exchange for exchange in exchanges if _is_name(exchange[1])][:MOST_HOSTS]
        found = await asyncio.gather(*(self._hosts.get(host) for _, host in exchanges))
        outcome = _outcome(exchanges, found, records.ttl, nothing=NO_ADDRESS)
        pairs = zip(exchanges, found, strict=True)
        secure = {host: addresses for (_, host), addresses in pairs if addresses.secure} if records.secure else {}
        return await self._with_dane(name, outcome, secure)

    async def _with_dane(
        self, domain: str, outcome: tuple[MailHosts, float], secure: Mapping[str, "_Addresses"]
    ) -> tuple[MailHosts, float]:
        """``outcome`` with the TLSA records of those hosts whose addresses, and whose domain's MX, are ``secure``."""
        hosts, seconds = outcome
        if self._tlsa_port is None or not secure or isinstance(hosts, DnsFailure):
            return outcome
        with_records = []
        for host in hosts:
            addresses = secure.get(host.name)
            base, found = (host.name, _NO_TLSAS) if addresses is None else await self._tlsa_of(host.name, addresses)
            seconds = min(seconds, found.ttl)
            if found.there:
                names = tuple(dict.fromkeys((base, host.name, domain)))
                with_records.append(replace(host, dane=Dane(found.values or (), names, found.unknown)))
            else:
                with_records.append(host)
        return tuple(with_records), seconds

    async def _tlsa_of(self, host: str, addresses: "_Addresses") -> tuple[str, "_Tlsas"]:
        """The records of a host, with the name that they stand at: the one behind an alias first (RFC 7672 §2.2.3)."""
        if addresses.canonical not in {"", host}:
            found = await self._tlsas.get(addresses.canonical)
            if found.there:
                return addresses.canonical, found
        return host, await self._tlsas.get(host)

    async def _look_up_tlsa(self, host: str) -> tuple["_Tlsas", float]:
        found = await self._query(f"_{self._tlsa_port}._tcp.{host}", dns.rdatatype.TLSA)
        if isinstance(found, DnsFailure):
            if found.permanent:
                return _Tlsas(None, NEGATIVE_HOLD), NEGATIVE_HOLD
            return _Tlsas(None, TROUBLE_HOLD, f"TLSA records of {host}: {found.text}"), TROUBLE_HOLD
        if not found.values or not found.secure:
            return _Tlsas(None, found.ttl), found.ttl
        records = (_tlsa(value) for value in found.values)
        return _Tlsas(tuple(sorted(record for record in records if record.usable)), found.ttl), found.ttl

    async def _look_up_host(self, name: str) -> tuple["_Addresses", float]:
        answers = await asyncio.gather(*(self._query(name, kind) for kind in self._types))
        records = [answer for answer in answers if isinstance(answer, _Records) and answer.values]
        if records:
            ttl = min(answer.ttl for answer in records)
            addresses = tuple(value for answer in records for value in answer.values)
            allowed = addresses if self._private else tuple(filter(is_public, addresses))
            secure = all(answer.secure for answer in records)
            return _Addresses(allowed, ttl, None if allowed else NO_PUBLIC, secure, records[0].canonical), ttl
        failures = [answer for answer in answers if isinstance(answer, DnsFailure) and not answer.permanent]
        if failures:
            return _Addresses((), TROUBLE_HOLD, failures[0]), TROUBLE_HOLD
        return _Addresses((), NEGATIVE_HOLD), NEGATIVE_HOLD

    async def _query(self, name: str, kind: dns.rdatatype.RdataType) -> "_Records | DnsFailure":
        """Ask for one type of record; none of it is an empty answer, not a failure."""
        try:
            question = dns.name.from_text(name, origin=dns.name.root)
            answer = await self._resolver.resolve(
                question, kind, raise_on_no_answer=False, lifetime=self._timeout, search=False
            )
        except dns.resolver.NXDOMAIN:
            return NO_DOMAIN
        except dns.exception.DNSException as error:
            return DnsFailure(permanent=False, enhanced="4.4.3", text=f"DNS lookup failed: {type(error).__name__}")
        secure = self._tlsa_port is not None and bool(answer.response.flags & dns.flags.AD)
        if answer.rrset is None:
            return _Records((), NEGATIVE_HOLD, secure)
        ttl = min(max(float(answer.rrset.ttl), SHORTEST_HOLD), LONGEST_HOLD)
        canonical = answer.canonical_name.to_text(omit_final_dot=True).lower()
        return _Records(tuple(map(_text, answer.rrset)), ttl, secure, canonical)


@dataclass(frozen=True, slots=True)
class _Records:
    """Records in text form, the seconds that they hold, whether the resolver has validated them, and whose they are.

    ``canonical`` is the name behind all aliases (CNAME), lower case without trailing dot.
    """

    values: tuple[str, ...]
    ttl: float
    secure: bool = False
    canonical: str = ""


@dataclass(frozen=True, slots=True)
class _Tlsas:
    """The usable TLSA records of a host, None when it has none at all; ``unknown`` says why that is not known."""

    values: tuple[Tlsa, ...] | None
    ttl: float
    unknown: str | None = None

    @property
    def there(self) -> bool:
        """There are some, or there may be."""
        return self.values is not None or self.unknown is not None


_NO_TLSAS = _Tlsas(None, LONGEST_HOLD)


@dataclass(frozen=True, slots=True)
class _Addresses:
    """Addresses of one host; without any, ``failure`` says when that is because nobody answered.

    ``canonical`` as in :class:`_Records`.
    """

    values: tuple[str, ...]
    ttl: float
    failure: DnsFailure | None = None
    secure: bool = False
    canonical: str = ""


def _outcome(
    exchanges: Sequence[tuple[int, str]], found: Sequence[_Addresses], ttl: float, *, nothing: DnsFailure
) -> tuple[MailHosts, float]:
    """Join hosts with their addresses; it holds as long as the shortest-lived part."""
    hosts = tuple(
        MailHost(name, preference, addresses.values)
        for (preference, name), addresses in zip(exchanges, found, strict=True)
        if addresses.values
    )
    if hosts:
        return hosts, min([ttl, *(addresses.ttl for addresses in found)])
    unanswered = next((addresses.failure for addresses in found if addresses.failure is not None), None)
    return (nothing, NEGATIVE_HOLD) if unanswered is None else (unanswered, TROUBLE_HOLD)


def _text(record: dns.rdata.Rdata) -> str:
    """A record as text; of a TXT record what its strings say together."""
    if isinstance(record, TXT):
        return b"".join(record.strings).decode("utf-8", "replace")
    return record.to_text()


def _tlsa(record: str) -> Tlsa:
    usage, selector, matching, data = record.split(None, 3)
    return Tlsa(int(usage), int(selector), int(matching), bytes.fromhex(data))


def _exchange(record: str) -> tuple[int, str]:
    preference, host = record.split()
    return int(preference), host.rstrip(".").lower()


def _is_name(host: str) -> bool:
    """Whether a zone names a host that can exist, and not its root or some escaped octets."""
    try:
        ascii_domain(host)
    except ValueError:
        return False
    return True


def is_public(address: str) -> bool:
    """Whether an address is one host of the public internet, seen through what can wrap an IPv4 address in IPv6."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1]
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        ip = inner or ip
    return ip.is_global and not ip.is_multicast


def nameserver(text: str) -> dns.nameserver.Nameserver:
    """The name server that a setting names.

    Raises:
        ValueError: it is not an IP address with an optional port.
    """
    found = _SERVER.fullmatch(text)
    if found is None:
        raise ValueError(f"name server {text!r} is not address, address:port or [address]:port")
    address = str(ipaddress.ip_address(found["v6"] or found["v4"] or found["bare"]))
    return dns.nameserver.Do53Nameserver(address, int(found["v6port"] or found["v4port"] or 53))
