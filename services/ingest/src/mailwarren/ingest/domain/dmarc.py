"""Records of DMARC (RFC 7489): which domain of a mail has to be that of its From address."""

from collections.abc import Sequence

import msgspec

from mailwarren.ingest.domain.tag_list import begins_with, parse_tags

POLICIES = frozenset({"none", "quarantine", "reject"})
STRICT = "s"


class Dmarc(msgspec.Struct, frozen=True, omit_defaults=True):
    """The record that holds for a domain: its own, or that of the nearest domain above with one (``at``)."""

    at: str
    policy: str
    strict_dkim: bool = False
    strict_spf: bool = False


class Alignment(msgspec.Struct, frozen=True):
    """Whether DMARC passes mail from a domain by its signature, and by SPF.

    ``subdomains``: whether the domain's signature is aligned with From addresses below it.
    """

    dkim: bool
    spf: bool
    subdomains: bool


def places(domain: str) -> list[str]:
    """The names to look at for a domain's record, in order: its own, then those above it but for the top-level."""
    labels = domain.split(".")
    return [f"_dmarc.{'.'.join(labels[start:])}" for start in range(len(labels) - 1)]


def dmarc_records(texts: Sequence[str]) -> list[str]:
    """Those TXT records that are DMARC's (§6.6.3)."""
    return begins_with(texts, "v", "DMARC1")


def read_record(record: str, at: str) -> Dmarc | None:
    """What a record says; None when receivers would not understand it."""
    tags = parse_tags(record)
    if tags is None or tags.get("p", "").lower() not in POLICIES:
        return None
    return Dmarc(
        at=at,
        policy=tags["p"].lower(),
        strict_dkim=tags.get("adkim", "").lower() == STRICT,
        strict_spf=tags.get("aspf", "").lower() == STRICT,
    )


def align(domain: str, envelope_domain: str, dmarc: Dmarc | None) -> Alignment:
    """How mail from ``domain`` stands that is signed with d= the same domain and sent from ``envelope_domain``."""
    if dmarc is None:
        dmarc = Dmarc(at="", policy="none")
    same = domain == envelope_domain
    below = envelope_domain.endswith(f".{domain}")
    return Alignment(dkim=True, spf=same or (below and not dmarc.strict_spf), subdomains=not dmarc.strict_dkim)
