"""Reading a domain's SPF with all that it includes, as a receiver does (RFC 7208 §4.6)."""

from mailwarren.ingest.adapters.dns import Dns
from mailwarren.ingest.domain.spf import MOST_LOOKUPS, Spf, Term, parse_record, spf_records

PASSES = "+"


class _Reader:
    def __init__(self, dns: Dns) -> None:
        self._dns = dns
        self.terms: set[tuple[str, str]] = set()
        self.lookups = 0
        self.trouble: str | None = None
        self.broken: str | None = None

    async def read(self, name: str, *, passing: bool = True) -> tuple[tuple[str, ...], list[Term]]:
        """The records of a name, and the terms when there is one; what they include is read too.

        Records that include each other end at the limit of lookups, as they do at receivers.

        Args:
            name: the domain.
            passing: whether what it passes is passed by who includes it.
        """
        found = await self._dns.texts(name)
        if found.trouble is not None:
            self.trouble = found.trouble
            return (), []
        records = tuple(spf_records(found.values))
        if len(records) != 1:
            return records, []
        terms = parse_record(records[0])
        if terms is None:
            self.broken = f"Receivers do not understand the SPF record at {name}."
            return records, []
        await self._follow(name, terms, passing=passing)
        return records, terms

    async def _follow(self, name: str, terms: list[Term], *, passing: bool) -> None:
        everybody = any(term.name == "all" for term in terms)
        for term in terms:
            if term.name == "all":
                return  # what stands behind it is never asked (§5.1)
            if term.name == "redirect" and everybody:
                continue  # has no effect (§6.1)
            passes = passing and term.qualifier == PASSES
            if passes:
                self.terms.add(term.same)
            if term.asks:
                self.lookups += 1
            if self.lookups > MOST_LOOKUPS or self.trouble is not None:
                return
            # A macro stands for something of each mail: it counts, and cannot be followed here.
            if term.name in {"include", "redirect"} and "%" not in term.argument:
                await self._include(name, term, passing=passes)

    async def _include(self, name: str, term: Term, *, passing: bool) -> None:
        target = term.argument.lower().rstrip(".")
        records, _ = await self.read(target, passing=passing)
        if len(records) != 1 and self.trouble is None and self.lookups <= MOST_LOOKUPS and self.broken is None:
            said = "no SPF record" if not records else f"{len(records)} SPF records"
            self.broken = f"The record at {name} names {target}, which has {said}; receivers take that for an error."


async def read_spf(dns: Dns, name: str) -> Spf:
    """The SPF of a domain."""
    reader = _Reader(dns)
    records, terms = await reader.read(name)
    last = next((f"{term.qualifier}all" for term in terms if term.name == "all"), "")
    return Spf(
        records=records,
        terms=frozenset(reader.terms),
        lookups=reader.lookups,
        all=last,
        trouble=reader.trouble,
        broken=reader.broken,
    )
