"""The DNS records that a domain is to publish, and what is wrong with those that were found.

A finding has the words of the API: ``verified``; ``failed``, somebody has to change the DNS; ``temporary_failure``,
nothing is known because the DNS did not answer; ``not_started``.
"""

import base64
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from mailwarren.contracts.dkim import ED25519, RSA
from mailwarren.ingest.domain.dmarc import Alignment, Dmarc
from mailwarren.ingest.domain.domains import envelope_sender
from mailwarren.ingest.domain.spf import Spf, Term, show, spf_problem
from mailwarren.ingest.domain.tag_list import parse_tags
from mailwarren.store.states import DomainState, KeyState

MOST_SHOWN, LONGEST_SHOWN = 20, 4096
"""Records of a name, and characters of each, that are kept of what was found."""
PRIORITY = 10
"""Of the MX record for bounces."""
DMARC_VALUE = "v=DMARC1; p=none;"

_SHORT = {RSA: "rsa", ED25519: "ed25519"}


class Purpose(StrEnum):
    """What a record is for: the ``record`` of the API. That of bounces counts as SPF's there, as Resend has it."""

    DKIM = "DKIM"
    SPF = "SPF"
    BOUNCES = "MX"
    DMARC = "DMARC"
    TRACKING = "Tracking"


class Site(msgspec.Struct, frozen=True):
    """This system, as the records of its tenants' domains name it.

    ``spf`` are the mechanisms that pass its servers; none: SPF is not checked. ``bounce_host`` takes bounces; empty:
    there is no return path, and mail goes out with the From address as its envelope sender. ``tracking_host`` is what
    hosts of tracked links are aliases of.
    """

    spf: tuple[Term, ...] = ()
    bounce_host: str = ""
    tracking_host: str = ""


class KeyFacts(msgspec.Struct, frozen=True):
    """A DKIM key without its private half. ``public`` is what ``p=`` says, decoded."""

    selector: str
    algorithm: str
    state: KeyState
    public: bytes
    created_at: datetime
    seen_at: datetime | None = None
    named_until: datetime | None = None


class Wanted(msgspec.Struct, frozen=True):
    """A record to publish. ``needed``: without it the domain is not verified."""

    purpose: Purpose
    name: str
    type: str
    value: str
    needed: bool
    key: KeyFacts | None = None

    @property
    def place(self) -> tuple[str, str]:
        """What tells it from the domain's other records."""
        return self.name, self.type


class Found(msgspec.Struct, frozen=True):
    """What the DNS said: the records in text form, the aliases (CNAME) on the way, or why it said nothing now."""

    values: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    trouble: str | None = None


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a look at a record."""

    name: str
    type: str
    state: DomainState
    found: tuple[str, ...] = ()
    problem: str | None = None


class Findings(msgspec.Struct, frozen=True, omit_defaults=True):
    """All of a domain, as kept in ``domains.findings``."""

    records: tuple[Finding, ...] = ()
    dmarc: Dmarc | None = None
    alignment: Alignment | None = None


def key_record(algorithm: str, public: bytes) -> str:
    """The text of a key's record (RFC 6376 §3.6.1, RFC 8463 §4)."""
    return f"v=DKIM1; k={_SHORT[algorithm]}; p={base64.b64encode(public).decode()}"


def envelope_domain(name: str, return_path: str, site: Site) -> str:
    """The domain of MAIL FROM, once the records of the return path are there."""
    return envelope_sender(name, return_path).rpartition("@")[2] if site.bounce_host else name


def wanted_records(
    name: str, return_path: str, keys: Iterable[KeyFacts], site: Site, tracking: str | None = None
) -> list[Wanted]:
    """The records of a domain; ``tracking`` is the name below it that tracked links lead over, if it has one."""
    records = [
        Wanted(
            purpose=Purpose.DKIM,
            name=f"{key.selector}._domainkey.{name}",
            type="TXT",
            value=key_record(key.algorithm, key.public),
            needed=key.state is KeyState.ACTIVE,
            key=key,
        )
        for key in keys
    ]
    returns = envelope_domain(name, return_path, site)
    if site.bounce_host:
        records.append(Wanted(Purpose.BOUNCES, returns, "MX", site.bounce_host, needed=True))
    if site.spf:
        value = f"v=spf1 {' '.join(map(show, site.spf))} ~all"
        records.append(Wanted(Purpose.SPF, returns, "TXT", value, needed=True))
    records.append(Wanted(Purpose.DMARC, f"_dmarc.{name}", "TXT", DMARC_VALUE, needed=False))
    if tracking and site.tracking_host:
        # Without it links lead over the system's own host.
        records.append(Wanted(Purpose.TRACKING, f"{tracking}.{name}", "CNAME", site.tracking_host, needed=False))
    return records


def judge(wanted: Wanted, found: Found, problem: str | None) -> Finding:
    """The finding: ``problem`` is what is wrong with what was found, unless nothing could be asked."""
    shown = (*(f"CNAME {alias}" for alias in found.aliases), *found.values)
    values = tuple(value[:LONGEST_SHOWN] for value in shown[:MOST_SHOWN])
    if found.trouble is not None:
        return Finding(wanted.name, wanted.type, DomainState.TEMPORARY_FAILURE, values, found.trouble)
    state = DomainState.VERIFIED if problem is None else DomainState.FAILED
    return Finding(wanted.name, wanted.type, state, values, problem)


def key_problem(wanted: Wanted, found: Found) -> str | None:
    """What is wrong with the record of a DKIM key, as a verifier reads it (RFC 6376 §3.6.1, §6.1.2)."""
    key = wanted.key
    if key is None or not found.values:
        return f"There is no TXT record at {wanted.name}."
    if len(found.values) > 1:
        return f"There are {len(found.values)} TXT records at {wanted.name}; verifiers may read either. Leave one."
    tags = parse_tags(found.values[0])
    if tags is None or "p" not in tags or tags.get("v", "DKIM1") != "DKIM1":
        return "The record is no DKIM key: it has the form `v=DKIM1; k=rsa; p=…`."
    return _public_problem(key, tags) or _use_problem(tags)


def _public_problem(key: KeyFacts, tags: dict[str, str]) -> str | None:
    given = "".join(tags["p"].split())
    if not given:
        return "The record says that the key was revoked: its `p=` is empty."
    short = _SHORT[key.algorithm]
    if tags.get("k", "rsa").lower() != short:
        return f"The record is of another kind of key: its `k=` is not `{short}`."
    if given != base64.b64encode(key.public).decode():
        return f"The record has another key in its `p=`: {_where_other(given, key.public)}"
    return None


def _use_problem(tags: dict[str, str]) -> str | None:
    hashes = {part.strip().lower() for part in tags.get("h", "sha256").split(":")}
    services = {part.strip().lower() for part in tags.get("s", "*").split(":")}
    if "sha256" not in hashes:
        return "The record does not allow `sha256` in its `h=`; leave that tag out."
    if not services & {"*", "email"}:
        return "The record is not for mail: its `s=` is neither `*` nor `email`; leave that tag out."
    return None


def _where_other(given: str, public: bytes) -> str:
    """A hint for the commonest mistakes with a long value."""
    expected = base64.b64encode(public).decode()
    if expected.startswith(given):
        return f"it ends after {len(given)} of {len(expected)} characters. Long values are given in several strings."
    if expected in given:
        return "there is more before or after it."
    return f"it begins with `{given[:12]}…` instead of `{expected[:12]}…`, or differs further on."


def mx_problem(wanted: Wanted, found: Found) -> str | None:
    """What is wrong with the MX records of a return path, in the form ``10 mail.example.com.``."""
    hosts = sorted(_exchange(value) for value in found.values)
    if not hosts:
        return f"There is no MX record at {wanted.name}."
    ours = wanted.value.lower().rstrip(".")
    best = hosts[0][0]
    if ours not in {host for _, host in hosts}:
        return f"None of the MX records names {ours}: bounces go elsewhere."
    if ours not in {host for preference, host in hosts if preference == best}:
        return f"Bounces go to {hosts[0][1]} first, because its preference is better than that of {ours}."
    return None


def _exchange(value: str) -> tuple[int, str]:
    preference, _, host = value.partition(" ")
    return int(preference), host.strip().lower().rstrip(".")


def alias_problem(wanted: Wanted, found: Found) -> str | None:
    """What is wrong with the alias of a tracking host: it, or an alias that it leads to, has to be ours."""
    if not found.aliases:
        there = ": there are addresses, which may change without notice" if found.values else ""
        return f"There is no CNAME record at {wanted.name}{there}."
    if wanted.value.lower().rstrip(".") not in {alias.lower().rstrip(".") for alias in found.aliases}:
        return f"{wanted.name} is an alias of {found.aliases[-1]}, which is not {wanted.value}."
    if not found.values:
        return f"{wanted.name} is an alias as it should be, but {found.aliases[-1]} has no address."
    return None


def dmarc_problem(records: Sequence[str], dmarc: Dmarc | None, at: str) -> str | None:
    """What is wrong with the DMARC record that was found first, at ``at``."""
    if not records:
        return "There is no DMARC record, here or above: large receivers want one from who sends much."
    if len(records) > 1:
        return f"There are {len(records)} DMARC records at {at}; receivers take that for none. Leave one."
    if dmarc is None:
        return f"Receivers do not understand the record at {at}: it begins `v=DMARC1; p=none;` (or quarantine, reject)."
    return None


def spf_finding(wanted: Wanted, spf: Spf, site: Site) -> Finding:
    """The finding of an SPF record."""
    found = Found(values=spf.records, trouble=spf.trouble)
    return judge(wanted, found, spf_problem(spf, site.spf, wanted.name))
