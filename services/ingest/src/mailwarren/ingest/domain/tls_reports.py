"""What is asked for by ``GET /v1/tls-reports``, and counts of negotiations as a report has them (RFC 8460 §4.4)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from mailwarren.contracts.tls import TlsPolicy
from mailwarren.ingest.domain.cursor import DEFAULT_LIMIT, parse_limit
from mailwarren.ingest.domain.refusal import invalid_parameter

LONGEST_NAME = 253
_KNOWN = ("day", "domain", "after_domain", "limit", "organization", "contact")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose counts of which day.

    ``domain`` is the only one wanted, ``after`` the last one of the page before, ``limit`` how many at most.
    ``organization`` and ``contact`` are those who report.
    """

    day: date
    domain: str | None = None
    after: str = ""
    limit: int = DEFAULT_LIMIT
    organization: str = "Mailwarren"
    contact: str = ""


@dataclass(slots=True)
class Counted:
    """One policy of one domain: how many negotiations went well, how many did not, and how those failed."""

    domain: str
    policy: TlsPolicy
    policy_string: Sequence[str] = ()
    mx_host: Sequence[str] = ()
    good: int = 0
    bad: int = 0
    failures: list[Mapping[str, Any]] = field(default_factory=list)


def parse_wanted(query: Mapping[str, str], today: date) -> Wanted:
    """What a query string asks for; without a ``day`` it is today, as far as it has been.

    Raises:
        Refusal: 422 naming the parameter.
    """
    if unknown := set(query).difference(_KNOWN):
        raise invalid_parameter(
            f"Unknown query parameters: {', '.join(sorted(unknown))}; there are {', '.join(_KNOWN)}."
        )
    for name in ("domain", "after_domain", "organization", "contact"):
        if len(query.get(name, "")) > LONGEST_NAME or "\x00" in query.get(name, ""):
            raise invalid_parameter(f"The `{name}` parameter has at most {LONGEST_NAME} characters, and no NUL.")
    return Wanted(
        day=_day(query["day"]) if "day" in query else today,
        domain=query["domain"].lower().rstrip(".") if query.get("domain") else None,
        after=query.get("after_domain", ""),
        limit=parse_limit(query["limit"]) if "limit" in query else DEFAULT_LIMIT,
        organization=query.get("organization") or "Mailwarren",
        contact=query.get("contact", ""),
    )


def fold(rows: Iterable[Mapping[str, Any]]) -> list[Counted]:
    """Rows of ``tls_results``, ordered by domain and policy, as policies with what became of them."""
    found: dict[tuple[str, str], Counted] = {}
    for row in rows:
        key = row["domain"], row["policy"]
        counted = found.setdefault(key, Counted(row["domain"], TlsPolicy(row["policy"])))
        counted.policy_string = row["policy_string"] or counted.policy_string
        counted.mx_host = row["mx_host"] or counted.mx_host
        if row["result"]:
            counted.bad += row["sessions"]
            counted.failures.append(row)
        else:
            counted.good += row["sessions"]
    return list(found.values())


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise invalid_parameter(f"The `day` parameter is a UTC day like 2026-11-22; `{text[:40]}` is none.") from error
