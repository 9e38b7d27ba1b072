"""Records of SPF (RFC 7208): reading them, and what is wrong with one that has to name us."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

MOST_LOOKUPS = 10
"""Terms of a record, and of those that it includes, that make the receiver ask the DNS (§4.6.4)."""

_TERM = re.compile(
    r"(?P<qualifier>[-+~?]?)(?P<name>[A-Za-z][A-Za-z0-9_.-]*)(?:(?P<equals>=)(?P<given>.*)|:?(?P<argument>.*))"
)
_MECHANISMS = frozenset({"all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists"})
_ASKING = frozenset({"include", "a", "mx", "ptr", "exists", "redirect"})


class Term(NamedTuple):
    """A mechanism, or a modifier such as ``redirect``. ``argument`` has no colon and no ``=`` before it."""

    name: str
    argument: str
    qualifier: str = "+"

    @property
    def asks(self) -> bool:
        """Whether it makes the receiver ask the DNS."""
        return self.name in _ASKING

    @property
    def same(self) -> tuple[str, str]:
        """What two terms that mean the same have in common."""
        return self.name, self.argument.lower().rstrip(".")


class Spf(msgspec.Struct, frozen=True):
    """What a domain's record says, with those that it includes.

    ``records`` are those of the domain itself; ``terms`` what they and the included ones pass (``+``); ``all`` the last
    word of the domain's own record: ``-all``, ``~all``. ``trouble`` is why it could not be read to its end now,
    ``broken`` why no receiver could.
    """

    records: tuple[str, ...] = ()
    terms: frozenset[tuple[str, str]] = frozenset()
    lookups: int = 0
    all: str = ""
    trouble: str | None = None
    broken: str | None = None


def spf_records(texts: Iterable[str]) -> list[str]:
    """Those TXT records that are SPF's (§4.5)."""
    return [text for text in texts if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")]


def parse_record(record: str) -> list[Term] | None:
    """The terms of a record; None when a receiver would not understand one of them."""
    terms = []
    for word in record.split()[1:]:
        match = _TERM.fullmatch(word)
        if match is None:
            return None
        name = match["name"].lower()
        if match["equals"]:
            terms.append(Term(name, match["given"]))
        elif name in _MECHANISMS:
            terms.append(Term(name, match["argument"] or "", match["qualifier"] or "+"))
        else:
            return None
    return terms


def wanted_terms(setting: str) -> list[Term]:
    """The mechanisms of ``MAILWARREN_SPF``.

    Raises:
        ValueError: not mechanisms of SPF.
    """
    terms = parse_record(f"v=spf1 {setting}")
    if terms is None or any(term.name in {"all", "redirect"} or term.qualifier != "+" for term in terms):
        raise ValueError("give mechanisms of SPF with spaces between: include:_spf.mail.example.com ip4:192.0.2.10")
    return terms


def spf_problem(found: Spf, wanted: Sequence[Term], name: str) -> str | None:
    """What is wrong with the SPF of ``name``; None when it passes mail of ours."""
    if len(found.records) != 1:
        if not found.records:
            return f"There is no SPF record (`v=spf1 …`) at {name}."
        return f"There are {len(found.records)} SPF records at {name}; receivers take that for an error: join them."
    if found.lookups > MOST_LOOKUPS:
        return (
            f"The record needs more than {MOST_LOOKUPS} lookups in the DNS (include, a, mx, ptr, exists, redirect); "
            "receivers stop there and take it for an error (RFC 7208 §4.6.4)."
        )
    return found.broken or _missing_problem(found, wanted)


def _missing_problem(found: Spf, wanted: Sequence[Term]) -> str | None:
    absent = [term for term in wanted if not _passed(term, found.terms)]
    if absent:
        listed = ", ".join(f"`{show(term)}`" for term in absent)
        return f"The record does not pass our servers: it lacks {listed}."
    if found.all == "+all":
        return "The record ends in `+all`: it passes everybody's mail."
    return None


def _passed(term: Term, passed: Iterable[tuple[str, str]]) -> bool:
    """Whether a record names it, or a network around it."""
    if term.same in passed:
        return True
    ours = _network(*term.same)
    if ours is None:
        return False
    networks = (_network(*other) for other in passed)
    return any(one is not None and ours.network_address in one and ours.prefixlen >= one.prefixlen for one in networks)


def _network(name: str, argument: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    if name not in {"ip4", "ip6"}:
        return None
    try:
        return ipaddress.ip_network(argument, strict=False)
    except ValueError:
        return None


def show(term: Term) -> str:
    """A mechanism as a record has it."""
    separator = "" if not term.argument or term.argument.startswith("/") else ":"
    return f"{term.name}{separator}{term.argument}"
