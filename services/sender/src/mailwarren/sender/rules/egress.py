"""``egress.toml``: the addresses and names that mail leaves from, their pools and weights, and their warm-up."""

import contextlib
import ipaddress
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta

from mailwarren.contracts.lanes import Lane
from mailwarren.sender.domain.warmup import WarmUp
from mailwarren.sender.egress.plan import DEFAULT_POOL, Egress, EgressPlan, EgressRoute
from mailwarren.sender.rules.document import RulesError, read_document, read_table
from mailwarren.sender.smtp import Source

MOST_EGRESSES = 200
"""Egresses of a file: each is a label of metrics."""
MOST_ROUTES = 200
STANDARD = "standard"
"""The built-in curve."""
STANDARD_DAYS = (
    50, 100, 500, 1_000, 5_000, 10_000, 20_000, 40_000, 70_000, 100_000, 150_000, 250_000, 400_000, 600_000, 1_000_000,
)  # fmt: skip

_Texts = Annotated[list[str], Meta(min_length=1, max_length=1000)]
_Days = Annotated[list[Annotated[int, Meta(ge=0, le=1_000_000_000)]], Meta(min_length=1, max_length=400)]
_EGRESS: Mapping[str, Any] = {"helo": str, "ipv4": str, "ipv6": str, "public": _Texts, "warm_up": dict[str, Any]}
_WARM_UP: Mapping[str, Any] = {"since": date, "curve": str}
_CURVE: Mapping[str, Any] = {"days": _Days, "sites": dict[str, _Days]}
_ROUTE: Mapping[str, Any] = {"pool": str, "lanes": list[Lane], "sites": _Texts, "tenants": list[UUID]}
_CHECK: Mapping[str, Any] = {"senders": _Texts}
_WEIGHT = Annotated[float, Meta(gt=0, le=1_000_000)]

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,62})?(\.[a-z0-9]([a-z0-9-]{0,62})?)+")


def read_egress(data: bytes | None, mine: Collection[str] = ()) -> EgressPlan | None:
    """Read the file; None without one.

    Args:
        data: Its octets.
        mine: The egresses that this sender has; they have to be there.

    Raises:
        RulesError: it cannot be obeyed, or there is none and ``mine`` names some.
    """
    if data is None:
        if mine:
            raise RulesError(f"MAILWARREN_EGRESS names {', '.join(sorted(mine))}, and no file says what they are")
        return None
    document = read_document(data, ("egresses", "curves", "pools", "routes", "check"))
    problems: list[str] = []
    curves = dict(_curves(document.get("curves", {}), problems))
    egresses = {one.name: one for one in _egresses(document.get("egresses", {}), curves, problems)}
    pools = _pools(document.get("pools", {}), egresses, problems)
    routes = tuple(_routes(document.get("routes", []), pools, problems))
    check = read_table(document.get("check", {}), _CHECK, "[check]", problems)
    senders = tuple(name.lower() for name in check.get("senders", ()))
    problems += [f"[check] senders: {name!r} is no domain" for name in senders if not _HOST.fullmatch(name)]
    problems += [f"MAILWARREN_EGRESS names {name}, which is not there" for name in sorted(set(mine) - egresses.keys())]
    if problems:
        raise RulesError("; ".join(problems))
    if not egresses:
        raise RulesError("[egresses] has none")
    return EgressPlan(egresses, pools, routes, senders)


def _table(value: object, where: str, problems: list[str]) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > MOST_EGRESSES:
        problems.append(f"{where} is not a table of at most {MOST_EGRESSES} entries")
        return {}
    return value


def _curves(value: object, problems: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield STANDARD, {"days": list(STANDARD_DAYS)}
    for name, table in _table(value, "[curves]", problems).items():
        where = f"[curves.{name}]"
        curve = read_table(table, _CURVE, where, problems)
        if "days" not in curve:
            problems.append(f"{where} needs days: the mails of the first day, the second, …")
        else:
            yield name, curve


def _egresses(value: object, curves: Mapping[str, dict[str, Any]], problems: list[str]) -> Iterator[Egress]:
    for name, table in _table(value, "[egresses]", problems).items():
        where = f"[egresses.{name}]"
        before = len(problems)
        if not _NAME.fullmatch(name):
            problems.append(f"{where} is no name: lower-case letters, digits, dots, hyphens")
        row = read_table(table, _EGRESS, where, problems)
        helo = row.get("helo", "")
        if not _HOST.fullmatch(helo):
            problems.append(f"{where} helo: {helo!r} is no full host name in lower case")
        ipv4 = _address(row.get("ipv4"), 4, f"{where} ipv4", problems)
        ipv6 = _address(row.get("ipv6"), 6, f"{where} ipv6", problems)
        public = [_address(one, None, f"{where} public", problems) for one in row.get("public", ())]
        warm_up = _warm_up(row["warm_up"], curves, where, problems) if "warm_up" in row else None
        if len(problems) == before:
            yield Egress(Source(name, helo, ipv4, ipv6), tuple(one for one in public if one is not None), warm_up)


def _address(text: str | None, version: int | None, where: str, problems: list[str]) -> str | None:
    """An address as Python writes it, so that equal ones are equal texts."""
    if text is None:
        return None
    found: ipaddress.IPv4Address | ipaddress.IPv6Address | None = None
    with contextlib.suppress(ValueError):
        found = ipaddress.ip_address(text)
    if found is None or version not in {None, found.version} or found.is_unspecified or found.is_multicast:
        kind = "IP" if version is None else f"IPv{version}"
        problems.append(f"{where}: {text!r} is no {kind} address of a host")
        return None
    return str(found)


def _warm_up(value: object, curves: Mapping[str, dict[str, Any]], where: str, problems: list[str]) -> WarmUp | None:
    row = read_table(value, _WARM_UP, f"{where} warm_up", problems)
    since, name = row.get("since"), row.get("curve", STANDARD)
    if not isinstance(since, date) or isinstance(since, datetime):
        problems.append(f"{where} warm_up needs since, the first day, as a date: 2026-11-22")
        return None
    curve = curves.get(name)
    if curve is None:
        problems.append(f"{where} warm_up: there is no curve {name!r}; there are {', '.join(curves)}")
        return None
    return WarmUp(since, tuple(curve["days"]), {site: tuple(days) for site, days in curve.get("sites", {}).items()})


def _pools(value: object, egresses: Mapping[str, Egress], problems: list[str]) -> dict[str, dict[str, float]]:
    """The pools; without a default one all egresses are it, each with the same weight."""
    pools: dict[str, dict[str, float]] = {}
    for name, table in _table(value, "[pools]", problems).items():
        where = f"[pools.{name}]"
        if not _NAME.fullmatch(name):
            problems.append(f"{where} is no name: lower-case letters, digits, dots, hyphens")
        pool = read_table(table, dict.fromkeys(egresses, _WEIGHT), where, problems)
        if not pool and isinstance(table, dict):
            problems.append(f"{where} has no egress")
        pools[name] = pool
    if DEFAULT_POOL not in pools:
        pools[DEFAULT_POOL] = dict.fromkeys(egresses, 1.0)
    return pools


def _routes(value: object, pools: Mapping[str, Any], problems: list[str]) -> Iterator[EgressRoute]:
    if not isinstance(value, list) or len(value) > MOST_ROUTES:
        problems.append(f"[[routes]] is not a list of at most {MOST_ROUTES} routes")
        return
    for number, table in enumerate(value, 1):
        where = f"[[routes]] {number}"
        row = read_table(table, _ROUTE, where, problems)
        if row.get("pool") not in pools:
            problems.append(f"{where} pool: {row.get('pool')!r} is none of {', '.join(pools)}")
            continue
        yield EgressRoute(
            row["pool"],
            frozenset(row.get("lanes", ())),
            frozenset(row.get("sites", ())),
            frozenset(row.get("tenants", ())),
        )
