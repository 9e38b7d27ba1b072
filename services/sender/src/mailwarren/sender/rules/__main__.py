"""``python -m mailwarren.sender.rules``: check a file before it is put in place, and show the built-in ones."""

import argparse
import hashlib
import sys
from dataclasses import asdict
from pathlib import Path

from mailwarren.sender.domain.actions import Action
from mailwarren.sender.domain.classify import find_rule
from mailwarren.sender.rules.book import built_in
from mailwarren.sender.rules.document import RulesError
from mailwarren.sender.rules.replies import parse_example, read_replies
from mailwarren.sender.rules.shaping import read_shaping
from mailwarren.sender.smtp import SiteTimeouts


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 is good, 1 a file that a sender would refuse."""
    parser = argparse.ArgumentParser(prog="python -m mailwarren.sender.rules", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, asks, meaning in (
        ("shaping", "--mx", "say how this mail host would be treated"),
        ("replies", "--reply", "say how this reply would be read: '550 5.1.1 No such user'"),
    ):
        check = commands.add_parser(name, help=f"check a {name}.toml over the built-in one")
        check.add_argument("file", type=Path)
        check.add_argument(asks, help=meaning)
        if name == "replies":
            check.add_argument("--site", help="whose reply it is: the name of a row")
    commands.add_parser("show", help="print a built-in file").add_argument("name", choices=("shaping", "replies"))
    chosen = parser.parse_args(arguments)
    if chosen.command == "show":
        sys.stdout.write(built_in(chosen.name).decode())
        return 0
    try:
        data = chosen.file.read_bytes()
        lines = _shaping(data, chosen.mx) if chosen.command == "shaping" else _replies(data, chosen.reply, chosen.site)
    except OSError as error:
        return _fail(f"{chosen.file}: {error.strerror}")
    except RulesError as error:
        return _fail(f"{chosen.file}: {error}")
    digest = hashlib.sha256(data).hexdigest()
    sys.stdout.write("\n".join([f"{chosen.file}: good, digest {digest}", *lines]) + "\n")
    return 0


def _shaping(data: bytes, mx: str | None) -> list[str]:
    shaping = read_shaping((built_in("shaping"), data))
    if mx is None:
        return [f"{len(shaping.names)} sites have a row"]
    site = shaping.site_of(mx.lower().removesuffix("."))
    policy = shaping.policy(site)
    limits = policy.limits
    return [
        f"{mx}: site {site}",
        f"connections {limits.connections}, messages_per_connection {limits.messages_per_connection}",
        f"idle {limits.idle:g}, mails_behind {limits.behind}, tls {policy.tls}",
        f"rate {_rate(limits.rate)}, connection_rate {_rate(limits.connection_rate)}, breaker {limits.breaker}",
        f"timeouts {_timeouts(limits.timeouts)}",
    ]


def _rate(rate: float | None) -> str:
    return "none" if rate is None else f"{rate:g}/s"


def _timeouts(timeouts: SiteTimeouts) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in asdict(timeouts).items() if value is not None) or "as all"


def _replies(data: bytes, line: str | None, site: str | None) -> list[str]:
    rules = read_replies((data, built_in("replies")))
    if line is None:
        return [f"{len(rules)} rules"]
    rule = find_rule(parse_example(line), rules, site)
    if rule is None:
        return ["no rule reads it: a 4yz is tried again, a 5yz fails"]
    reads = f"rule {rules.index(rule) + 1} reads it: {rule.bounce_class}; a 5yz is {rule.permanent}"
    return [reads] if rule.action is None else [reads, _does(rule.action)]


def _does(action: Action) -> str:
    limits = [f"connections {action.connections}"] if action.connections is not None else []
    limits += [f"rate {action.rate * 60:g}/min"] if action.rate is not None else []
    after = f" after {action.after} in {action.within:g} s" if action.after > 1 else ""
    what = "nothing is sent" if action.suspend else ", ".join(limits)
    return f"then for {action.seconds:g} s{after}: {what}, {action.scope}-wide at all senders"


def _fail(reason: str) -> int:
    sys.stderr.write(reason + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
