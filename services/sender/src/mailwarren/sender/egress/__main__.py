"""``python -m mailwarren.sender.egress``: what egresses are, and whether receivers will take them for that."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from mailwarren.contracts.egress import OTHER_SITES, day_of
from mailwarren.runtime.settings import load
from mailwarren.sender.egress.dns import Dns
from mailwarren.sender.egress.findings import Finding, look_at, try_to_bind
from mailwarren.sender.egress.plan import Egress, EgressPlan
from mailwarren.sender.rules.document import RulesError
from mailwarren.sender.rules.egress import read_egress
from mailwarren.sender.settings import SenderSettings

GOOD, FAILED, UNKNOWN = 0, 1, 2
"""What the command ends with: all is well, something is wrong, or the DNS did not say."""
_WORDS = {True: "good", False: "WRONG", None: "unknown"}


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m mailwarren.sender.egress", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="look at each address: reverse DNS, HELO, SPF; found and expected")
    check.add_argument("--elsewhere", action="store_true", help="do not look whether the addresses are this host's")
    for command in (check, commands.add_parser("show", help="print the pools, and today's numbers of the warm-up")):
        command.add_argument("file", type=Path, nargs="?", help="instead of MAILWARREN_EGRESS_FILE")
        command.add_argument("--egress", action="append", default=[], help="only this one; may be repeated")
        command.add_argument("--resolver", help="address:port, instead of MAILWARREN_RESOLVER")
    chosen = parser.parse_args(arguments)
    try:
        file, server, mine = _sources(chosen.file, chosen.resolver, chosen.egress)
        plan = read_egress(file.read_bytes(), mine)
        dns = Dns(server)
    except OSError as error:
        return _fail(f"{file}: {error.strerror}")
    except ValueError as error:  # a RulesError is one
        return _fail(f"{file}: {error}" if isinstance(error, RulesError) else str(error))
    if plan is None:
        return _fail(f"{file}: it says nothing")
    egresses = [one for name, one in plan.egresses.items() if not mine or name in mine]
    if chosen.command == "show":
        return _print(_shown(plan, egresses), GOOD)
    found = asyncio.run(_look(egresses, plan, dns, bind=not chosen.elsewhere))
    passed = [finding.passed for finding in found]
    return _print(_table(found), FAILED if False in passed else UNKNOWN if None in passed else GOOD)


def _sources(file: Path | None, resolver: str | None, egresses: Sequence[str]) -> tuple[Path, str | None, list[str]]:
    """File, name server and egresses: those of the command, else those of the sender's settings.

    Raises:
        ValueError: neither names a file.
    """
    if file is not None:
        return file, resolver, list(egresses)
    settings = load(SenderSettings, "sender")
    if settings.egress_file is None:
        raise ValueError("name a file, or set MAILWARREN_EGRESS_FILE")
    return settings.egress_file, resolver or settings.resolver or None, list(egresses or settings.egresses)


async def _look(egresses: Sequence[Egress], plan: EgressPlan, dns: Dns, *, bind: bool) -> list[Finding]:
    found = await asyncio.gather(*(look_at(egress, plan.senders, dns) for egress in egresses))
    return [
        finding
        for egress, findings in zip(egresses, found, strict=True)
        for finding in [*(try_to_bind(egress) if bind else ()), *findings]
    ]


def _table(found: Sequence[Finding]) -> list[str]:
    rows = [("egress", "address", "check", "result", "expected", "found")]
    rows += [(one.egress, one.address, one.check.value, _WORDS[one.passed], one.expected, one.found) for one in found]
    return _columns(rows)


def _shown(plan: EgressPlan, egresses: Sequence[Egress]) -> list[str]:
    today = day_of(datetime.now(UTC).timestamp())
    rows = [("egress", "helo", "from", "seen as", "today", "warm on")]
    for one in egresses:
        source, warm_up = one.source, one.warm_up
        own = ", ".join(address for address in (source.ipv4, source.ipv6) if address) or "as the system chooses"
        most = warm_up.most(OTHER_SITES, today) if warm_up is not None else None
        warm_on = "" if warm_up is None else str(warm_up.warm_on)
        seen = ", ".join(one.addresses) or "unknown"
        rows.append((one.name, source.helo, own, seen, "any number" if most is None else f"{most} a site", warm_on))
    shares = []
    for name, weights in plan.pools.items():
        total = sum(weights.values())
        parts = ", ".join(f"{egress} {weight / total:.0%}" for egress, weight in weights.items())
        shares.append(f"pool {name}: {parts}")
    return [*_columns(rows), "", *shares]


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[number]) for row in rows) for number in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _print(lines: Sequence[str], code: int) -> int:
    sys.stdout.write("\n".join(lines) + "\n")
    return code


def _fail(reason: str) -> int:
    sys.stderr.write(reason + "\n")
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
