"""``shaping.toml``: which mail hosts make a site, how many connections it gets, and with how much TLS."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from msgspec import Meta

from mailwarren.sender.rules.document import RulesError, read_document, read_table
from mailwarren.sender.rules.units import Rate, Span, per_second, seconds
from mailwarren.sender.smtp import SMARTHOST, Shaping, SiteLimits, SitePolicy, SiteTimeouts, TlsMode

MOST_SITES = 500
"""Rows of a file: each is a label of metrics."""

LONGEST_IDLE = 3600.0

_LIMITS: Mapping[str, Any] = {
    "connections": Annotated[int, Meta(ge=1, le=10_000)],
    "messages_per_connection": Annotated[int, Meta(ge=1, le=1_000_000)],
    "idle": Span,
    "mails_behind": Annotated[int, Meta(ge=0, le=10)],
    "rate": Rate,
    "connection_rate": Rate,
    "breaker": Annotated[int, Meta(ge=1, le=1_000_000)],
    "chunking": bool,
    "timeouts": dict[str, Any],
}
_TIMEOUTS: Mapping[str, Any] = dict.fromkeys(SiteTimeouts.__dataclass_fields__, Span)
_DEFAULT: Mapping[str, Any] = {**_LIMITS, "tls": TlsMode}
_SITE: Mapping[str, Any] = {"mx": Annotated[list[str], Meta(min_length=1, max_length=100)], **_DEFAULT}

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,250}[a-z0-9])?")
_MX = re.compile(r"\.?[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")

Row = dict[str, Any]


def read_shaping(documents: Iterable[bytes], *, smarthost: SiteLimits | None = None) -> Shaping:
    """Lay files over each other, the first at the bottom: what a row does not say, the same row below it says.

    What no row of a site says, the default row does; of the smarthost, ``smarthost`` does.

    Raises:
        RulesError: the last file cannot be obeyed.
    """
    default: Row = {}
    sites: dict[str, Row] = {}
    mx: dict[str, str] = {}
    for document in documents:
        layer = _read_layer(document)
        default = _over(default, layer.pop("", {}))
        for name, row in layer.items():
            if "mx" in row:
                mx = {host: site for host, site in mx.items() if site != name}
            sites[name] = _over(sites.get(name, {}), row)
        for name, row in layer.items():
            mx |= dict.fromkeys(row.get("mx", ()), name)
    base = smarthost or SiteLimits()
    policies = {name: _policy(_over(default, row)) for name, row in sites.items() if name != SMARTHOST}
    policies[SMARTHOST] = _policy(sites.get(SMARTHOST, {}), base)
    shaping = Shaping(policies, default=_policy(default), mx=mx)
    _check_reach(shaping, sites)
    return shaping


def _over(below: Row, row: Row) -> Row:
    """A row laid over another, key by key; timeouts too."""
    both = below | row
    if "timeouts" in row:
        both["timeouts"] = below.get("timeouts", {}) | row["timeouts"]
    return both


def _read_layer(data: bytes) -> dict[str, Row]:
    """The rows of a file by site; the default row under the empty name."""
    document = read_document(data, ("default", "sites"))
    problems: list[str] = []
    rows = {"": _read_row(document.get("default", {}), _DEFAULT, "[default]", problems)}
    tables = document.get("sites", {})
    if not isinstance(tables, dict) or len(tables) > MOST_SITES:
        raise RulesError(f"[sites] is not a table of at most {MOST_SITES} sites")
    owners: dict[str, str] = {}
    for name, table in tables.items():
        where = f"[sites.{name}]"
        if not _NAME.fullmatch(name):
            problems.append(f"{where} is not the name of a site: lower-case letters, digits, dots, hyphens")
        if name == SMARTHOST and isinstance(table, dict) and not table.keys().isdisjoint(("mx", "tls")):
            problems.append(f"{where} has neither mx nor tls: MAILWARREN_SMTP_URL decides about them")
            continue
        rows[name] = _read_row(table, _SITE, where, problems)
        for host in rows[name].get("mx", ()):
            if not _MX.fullmatch(host):
                problems.append(f"{where} mx: {host!r} is neither a mail host nor .the.end.of.some, in lower case")
            elif owners.setdefault(host, name) != name:
                problems.append(f"{where} mx: {host} belongs to [sites.{owners[host]}] already")
    if problems:
        raise RulesError("; ".join(problems))
    return rows


def _read_row(table: object, types: Mapping[str, Any], where: str, problems: list[str]) -> Row:
    row = read_table(table, types, where, problems)
    if seconds(row.get("idle", 1.0)) > LONGEST_IDLE:
        problems.append(f"{where} idle: {LONGEST_IDLE:g} seconds at most")
    if "timeouts" in row:
        row["timeouts"] = read_table(row["timeouts"], _TIMEOUTS, f"{where} timeouts", problems)
    return row


def _policy(row: Row, base: SiteLimits | None = None) -> SitePolicy:
    base = base or SiteLimits()
    return SitePolicy(
        SiteLimits(
            connections=row.get("connections", base.connections),
            messages_per_connection=row.get("messages_per_connection", base.messages_per_connection),
            idle=seconds(row.get("idle", base.idle)),
            behind=row.get("mails_behind", base.behind),
            rate=per_second(row.get("rate", base.rate)),
            connection_rate=per_second(row.get("connection_rate", base.connection_rate)),
            breaker=row.get("breaker", base.breaker),
            chunking=row.get("chunking", base.chunking),
            timeouts=SiteTimeouts(**{name: seconds(span) for name, span in row.get("timeouts", {}).items()}),
        ),
        row.get("tls", TlsMode.OPPORTUNISTIC),
    )


def _check_reach(shaping: Shaping, sites: Mapping[str, Row]) -> None:
    """Refuse rows that no mail host can belong to: they would do nothing."""
    problems = [
        f"[sites.{name}] is of no mail host: give it mx, or the registered domain of its mail hosts as its name"
        for name, row in sites.items()
        if name != SMARTHOST and "mx" not in row and ("." not in name or shaping.site_of(f"mx.{name}") != name)
    ]
    if problems:
        raise RulesError("; ".join(problems))
