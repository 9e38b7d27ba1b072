"""``mailwarren shaping``, ``queues`` and ``senders``: what the API says, as lines for people or as JSON."""

from collections.abc import Sequence
from typing import Any

from mailwarren.ingest.commands.api import Api
from mailwarren.ingest.domain.shaping import show_rate


def list_queues(api: Api, *, plain: bool) -> list[Any]:
    """All queues.

    Raises:
        Failed: the API said no; so for all of these.
    """
    rows: list[dict[str, Any]] = api.get("/queues")["data"]
    if not plain:
        return list(rows)
    return _table(
        ["queue", "messages", "consumers", "change/s", "state"],
        [[row["name"], _or(row["messages"]), row["consumers"], _or(row["rate"]), row["state"]] for row in rows],
    )


def list_senders(api: Api, *, plain: bool) -> list[Any]:
    """All live senders."""
    rows: list[dict[str, Any]] = api.get("/senders")["data"]
    if not plain:
        return list(rows)
    lines = _table(
        ["host", "fleet", "version", "queues", "in flight", "waiting", "mails/s", "heard"],
        [
            [
                row["host"], row["fleet"], row["version"], len(row["queues"]), f"{row['in_flight']}/{row['limit']}",
                row["waiting"], row["rate"], f"{row['heard']} s ago",
            ]
            for row in rows
        ],
    )  # fmt: skip
    hosts = sorted({host for row in rows for host in row["tls_broken"]})
    return [*lines, f"in the clear, for their TLS is broken: {', '.join(hosts)}"] if hosts else lines


def list_egresses(api: Api, *, plain: bool) -> list[Any]:
    """What mail leaves from, over all live senders."""
    rows: list[dict[str, Any]] = api.get("/senders")["egresses"]
    if not plain:
        return list(rows)
    lines = _table(
        ["egress", "helo", "addresses", "senders", "open", "sent today of its warm-up"],
        [
            [
                row["name"], row["helo"], ", ".join(row["addresses"]) or "-", row["senders"],
                "yes" if row["open"] else "NO",
                ", ".join(f"{one['site']} {one['taken']}/{one['limit']}" for one in row["warming"]) or "warm",
            ]
            for row in rows
        ],
    )  # fmt: skip
    return [*lines, *(f"{row['name']}: {problem}" for row in rows for problem in row["problems"])]


def list_shaping(api: Api, *, past: bool, plain: bool) -> list[Any]:
    """Overrides, and as JSON the sites behind them."""
    found = api.get("/shaping", past="true", limit=100) if past else api.get("/shaping")
    if not plain:
        return [*found["data"], *({"object": "site"} | site for site in found["sites"])]
    lines = _table(
        ["id", "scope", "name", "what", "until", "cause", "sample"],
        [
            [row["id"], row["scope"], row["name"], _what(row), _until(row), row["cause"], row["sample"]]
            for row in found["data"]
        ],
    )
    sites = _table(
        ["site", "open", "slots", "busy", "waiting", "mails/s", "senders"],
        [
            [row["name"], row["open"], row["slots"], row["busy"], row["waiting"], row["rate"], row["senders"]]
            for row in found["sites"]
        ],
    )
    return [*lines, "", *sites]


def begin(api: Api, wish: dict[str, Any]) -> dict[str, Any]:
    """Suspend or limit."""
    return api.post("/shaping", {name: value for name, value in wish.items() if value is not None})


def end(api: Api, ident: str) -> str:
    """End an override."""
    return f"ended {api.delete(f'/shaping/{ident}')['id']}"


def _what(row: dict[str, Any]) -> str:
    if row["suspend"]:
        return "suspended"
    limits = [] if row["rate"] is None else [show_rate(row["rate"])]
    return ", ".join(limits + ([] if row["connections"] is None else [f"{row['connections']} connections"]))


def _until(row: dict[str, Any]) -> str:
    if row["ended_at"] is not None:
        return f"{_time(row['ended_at'])} (ended by {row['ended_by']})"
    return _time(row["until"])


def _time(text: str) -> str:
    return text[:19].replace("T", " ")


def _or(value: Any) -> Any:
    return "-" if value is None else value


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    cells = [list(heads), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
