"""What SPF says of an address and a domain, as a receiver finds out: ``check_host()`` (RFC 7208 §4)."""

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

from mailwarren.sender.egress.dns import Dns, Found

MOST_LOOKUPS = 10
"""Terms that make a receiver ask the DNS (§4.6.4)."""
MOST_VOID = 2
"""Questions without an answer that it bears."""
MOST_HOSTS = 10
"""Mail hosts of ``mx``, and names of ``ptr``, that it looks up."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)")
_MECHANISM = re.compile(r"([-+~?]?)([A-Za-z][A-Za-z0-9_.-]*)((?:[:/].*)?)")
_CIDR = re.compile(r"(.*?)(?:/(\d{1,3}))?(?://(\d{1,3}))?")
_MACRO = re.compile(r"%(?:([%_-])|\{([slodihvcrt])(\d{0,3})(r?)([-.+,/_=]*)\})", re.IGNORECASE)
_KNOWN = frozenset({"all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists"})


class Verdict(StrEnum):
    """The results of ``check_host()`` (§2.6)."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


_BY_QUALIFIER = {"+": Verdict.PASS, "-": Verdict.FAIL, "~": Verdict.SOFTFAIL, "?": Verdict.NEUTRAL}


class _Error(Exception):
    """The evaluation ends with an error."""

    def __init__(self, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict


@dataclass(frozen=True, slots=True)
class _Term:
    qualifier: str
    name: str
    value: str


async def check_host(dns: Dns, address: str, domain: str, sender: str) -> tuple[Verdict, str]:
    """What receivers are told of mail from ``address``, and why in a word or two.

    Args:
        dns: Where to ask.
        address: The mail's.
        domain: Of HELO, or of the envelope sender.
        sender: The envelope sender; ``postmaster@`` the HELO name for that.
    """
    evaluation = _Evaluation(dns, ipaddress.ip_address(address), sender)
    try:
        return await evaluation.check(domain.lower().rstrip("."))
    except _Error as error:
        return error.verdict, str(error)


class _Evaluation:
    """One ``check_host()`` with what it includes."""

    def __init__(self, dns: Dns, address: Address, sender: str) -> None:
        self._dns = dns
        self._address = address
        self._sender = sender
        self._lookups = 0
        self._void = 0

    async def check(self, domain: str) -> tuple[Verdict, str]:
        texts = _known(await self._dns.texts(domain))
        records = [text for text in texts if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")]
        if not records:
            return Verdict.NONE, f"{domain} has no SPF record"
        if len(records) > 1:
            raise _Error(Verdict.PERMERROR, f"{domain} has {len(records)} SPF records")
        terms, redirect = _parse(records[0], domain)
        for term in terms:
            if await self._matches(term, domain):
                return _BY_QUALIFIER[term.qualifier], f"{term.qualifier}{term.name}{term.value} of {domain}"
        if redirect is None:
            return Verdict.NEUTRAL, f"no term of {domain} fits"
        self._count()
        verdict, reason = await self.check(self._expand(redirect, domain))
        if verdict is Verdict.NONE:
            raise _Error(Verdict.PERMERROR, reason)
        return verdict, reason

    async def _matches(self, term: _Term, domain: str) -> bool:
        match term.name:
            case "all":
                return True
            case "ip4" | "ip6":
                return self._is_in(term)
            case "include":
                self._count()
                verdict, reason = await self.check(self._target(term, domain))
                if verdict is Verdict.NONE:
                    raise _Error(Verdict.PERMERROR, reason)
                return verdict is Verdict.PASS
            case "exists":
                self._count()
                return any(":" not in one for one in await self._look_up(self._target(term, domain)))
            case "ptr":
                self._count()
                return await self._is_named(self._target(term, domain))
            case _:
                self._count()
                return await self._is_host(term, domain)

    def _is_in(self, term: _Term) -> bool:
        try:
            network = ipaddress.ip_network(term.value.removeprefix(":"), strict=False)
        except ValueError as error:
            raise _Error(Verdict.PERMERROR, f"{term.name}{term.value}: {error}") from error
        if network.version != (4 if term.name == "ip4" else 6):
            raise _Error(Verdict.PERMERROR, f"{term.name}{term.value} is of the other family")
        return self._address in network

    async def _is_host(self, term: _Term, domain: str) -> bool:
        """``a`` and ``mx``: an address of the target, or of its mail hosts, with as many bits in common as it says."""
        split = _CIDR.fullmatch(term.value)
        target, short, long = split.groups() if split else (term.value, None, None)
        name = self._expand(target.removeprefix(":"), domain) if target else domain
        hosts = [name]
        if term.name == "mx":
            hosts = list(_known(await self._dns.exchanges(name)))
            if len(hosts) > MOST_HOSTS:
                raise _Error(Verdict.PERMERROR, f"{name} has more than {MOST_HOSTS} mail hosts")
        four = self._address.version == 4  # noqa: PLR2004 - the version
        bits = int((short if four else long) or self._address.max_prefixlen)
        if bits > self._address.max_prefixlen:
            raise _Error(Verdict.PERMERROR, f"{term.name}{term.value}: more bits than an address has")
        network = ipaddress.ip_network(f"{self._address}/{bits}", strict=False)
        for host in hosts:
            if any(ipaddress.ip_address(one) in network for one in await self._look_up(host)):
                return True
        return False

    async def _is_named(self, target: str) -> bool:
        names = (await self._dns.names(str(self._address))).values
        for name in names[:MOST_HOSTS]:
            if name == target or name.endswith(f".{target}"):
                found = await self._dns.addresses(name)
                if any(ipaddress.ip_address(one) == self._address for one in found.values):
                    return True
        return False

    async def _look_up(self, name: str) -> tuple[str, ...]:
        found = _known(await self._dns.addresses(name))
        if not found:
            self._void += 1
            if self._void > MOST_VOID:
                raise _Error(Verdict.PERMERROR, f"more than {MOST_VOID} names have no address, the last is {name}")
        return found

    def _count(self) -> None:
        self._lookups += 1
        if self._lookups > MOST_LOOKUPS:
            raise _Error(Verdict.PERMERROR, f"more than {MOST_LOOKUPS} lookups")

    def _target(self, term: _Term, domain: str) -> str:
        if not term.value.startswith(":") and term.name != "ptr":
            raise _Error(Verdict.PERMERROR, f"{term.name} names nothing")
        return self._expand(term.value.removeprefix(":"), domain) if term.value else domain

    def _expand(self, text: str, domain: str) -> str:
        """Fill in macros (§7)."""

        def fill(match: re.Match[str]) -> str:
            plain, letter, digits, backwards, delimiters = match.groups()
            if plain:
                return {"%": "%", "_": " ", "-": "%20"}[plain]
            parts = re.split(f"[{re.escape(delimiters or '.')}]", self._macro(letter.lower(), domain))
            parts = parts[::-1] if backwards else parts
            value = ".".join(parts[-int(digits) :] if digits and int(digits) else parts)
            return quote(value, safe="-._~") if letter.isupper() else value

        return _MACRO.sub(fill, text).lower().rstrip(".")

    def _macro(self, letter: str, domain: str) -> str:
        local, _, of = self._sender.rpartition("@")
        nibbles = ".".join(self._address.exploded.replace(":", ""))
        return {
            "s": self._sender,
            "l": local or "postmaster",
            "o": of,
            "d": domain,
            "h": of,
            "i": str(self._address) if self._address.version == 4 else nibbles,  # noqa: PLR2004 - the version
            "v": "in-addr" if self._address.version == 4 else "ip6",  # noqa: PLR2004 - the version
        }.get(letter, "unknown")


def _known(found: Found) -> tuple[str, ...]:
    if found.trouble is not None:
        raise _Error(Verdict.TEMPERROR, found.trouble)
    return found.values


def _parse(record: str, domain: str) -> tuple[list[_Term], str | None]:
    """The mechanisms, and where the record sends on to when none fits."""
    terms: list[_Term] = []
    redirect: str | None = None
    for word in record.split()[1:]:
        if (modifier := _MODIFIER.fullmatch(word)) is not None:
            redirect = modifier[2] if modifier[1].lower() == "redirect" else redirect
            continue
        mechanism = _MECHANISM.fullmatch(word)
        if mechanism is None or mechanism[2].lower() not in _KNOWN:
            raise _Error(Verdict.PERMERROR, f"{word!r} of {domain} is no term that receivers understand")
        terms.append(_Term(mechanism[1] or "+", mechanism[2].lower(), mechanism[3]))
    return terms, redirect
