"""The commands of ``mailwarren`` that call the API.

``queues`` and ``dead`` ask the broker themselves where no API is named, or with ``--broker``: for an administrator
whose API is away.
"""

import argparse
import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mailwarren.contracts.topology import Topology
from mailwarren.ingest.adapters.dead import shelf
from mailwarren.ingest.commands import (
    Failed,
    breaker,
    broadcasts,
    broker,
    contacts,
    dead,
    domains,
    operating,
    privacy,
    scheduled,
)
from mailwarren.ingest.commands.api import Api
from mailwarren.ingest.commands.send import send
from mailwarren.ingest.settings import Settings

WAIT = 30.0


def add_commands(commands: Any) -> None:
    """Add them to the parser."""
    _dead(commands)
    queues = commands.add_parser("queues", help="how many messages wait in each queue")
    queues.add_argument("--json", action="store_true", help="one JSON object a line")
    _broker(queues)
    queues.add_argument("--wait", type=float, default=WAIT, metavar="S", help="seconds for the broker to come up")
    queues.set_defaults(run=_run_queues)
    senders = commands.add_parser("senders", help="the sender processes that are alive")
    senders.add_argument("--json", action="store_true", help="one JSON object a line")
    senders.set_defaults(run=lambda args, _settings: operating.list_senders(_api(), plain=not args.json))
    egress = commands.add_parser(
        "egress", help="what mail leaves from: addresses, checks, today's numbers of a warm-up"
    )
    egress.add_argument("--json", action="store_true", help="one JSON object a line")
    egress.set_defaults(run=lambda args, _settings: operating.list_egresses(_api(), plain=not args.json))
    _shaping(commands)
    _send(commands)
    _scheduled(commands)
    _contacts(commands)
    broadcasts.add(commands, _api)
    breaker.add(commands, _api)
    privacy.add(commands, _api)
    _domains(commands)


def _dead(commands: Any) -> None:
    parser = commands.add_parser("dead", help="parked messages")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--unrouted", action="store_true", help="those of mail.unrouted instead of mail.dead")
    which.add_argument("--ops", action="store_true", help="those of ops.dead: orders for ingest's workers")
    _broker(parser)
    parts = parser.add_subparsers(required=True)
    listing = parts.add_parser("list", help="list them, oldest first; they stay where they are")
    listing.add_argument("--limit", type=_count, default=100)
    listing.set_defaults(run=lambda args, settings: _run_dead(args, settings, "list", args.limit))
    show = parts.add_parser("show", help="one of them, with its headers and recipients")
    show.add_argument("number", type=_count)
    show.set_defaults(run=lambda args, settings: _run_dead(args, settings, "show", args.number))
    replay = parts.add_parser("replay", help="send them back where they came from")
    which = replay.add_mutually_exclusive_group(required=True)
    which.add_argument("numbers", type=_count, nargs="*", default=[])
    which.add_argument("--all", action="store_true")
    replay.set_defaults(
        run=lambda args, settings: _run_dead(args, settings, "replay", None if args.all else args.numbers)
    )
    purge = parts.add_parser("purge", help="delete all of them, on the broker")
    purge.add_argument("--yes", action="store_true", required=True, help="they cannot be brought back")
    purge.set_defaults(run=lambda args, settings: _run_dead(args, settings, "purge"))


def _shaping(commands: Any) -> None:
    parts = commands.add_parser("shaping", help="who is slowed down and why").add_subparsers(required=True)
    listing = parts.add_parser("list", help="limits and suspensions in force, and the sites")
    listing.add_argument("--past", action="store_true", help="with those that have ended")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    listing.set_defaults(
        run=lambda args, _settings: operating.list_shaping(_api(), past=args.past, plain=not args.json)
    )
    suspend = parts.add_parser("suspend", help="send nothing to a site, or for a tenant, for a time")
    _whom(suspend)
    suspend.set_defaults(run=lambda args, _settings: operating.begin(_api(), _wish(args) | {"suspend": True}))
    limit = parts.add_parser("limit", help="send less to a site for a time, over all senders")
    _whom(limit)
    limit.add_argument("--rate", help="10/s, 10/min or 10/h")
    limit.add_argument("--connections", type=_count)
    limit.set_defaults(
        run=lambda args, _settings: operating.begin(
            _api(), _wish(args) | {"rate": args.rate, "connections": args.connections}
        )
    )
    end = parts.add_parser("end", help="end a limit or a suspension, whatever its cause")
    end.add_argument("id")
    end.set_defaults(run=lambda args, _settings: operating.end(_api(), args.id))


def _whom(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="a site, or with --tenant a tenant's id")
    parser.add_argument("--tenant", action="store_true")
    parser.add_argument("--for", dest="lasts", required=True, metavar="SPAN", help="30m, 2h; at most 24h")
    parser.add_argument("--reason", help="for those who see it")


def _wish(args: argparse.Namespace) -> dict[str, Any]:
    scope = "tenant" if args.tenant else "site"
    return {"scope": scope, "name": args.name, "for": args.lasts, "reason": args.reason}


def _send(commands: Any) -> None:
    parser = commands.add_parser("send", help="one mail through the API (MAILWARREN_API_URL, MAILWARREN_API_KEY)")
    parser.add_argument("--from", dest="sender", required=True)
    parser.add_argument("--to", action="append", required=True, help="repeatable")
    parser.add_argument("--subject", default="A mail from Mailwarren")
    parser.add_argument("--text", default="Hello. This mail was sent with the mailwarren command.")
    parser.add_argument("--html")
    parser.add_argument("--priority", choices=["high", "normal", "bulk"])
    parser.set_defaults(run=_run_send)


def _scheduled(commands: Any) -> None:
    parts = commands.add_parser("scheduled", help="emails that wait for their time").add_subparsers(required=True)
    listing = parts.add_parser("list", help="print them, the next due first, one JSON object a line")
    listing.add_argument("--held", action="store_true", help="only those found long after their time")
    listing.set_defaults(run=lambda args, _settings: scheduled.list_scheduled(_api(), held=args.held))
    for verb, text in (("release", "send held ones now"), ("cancel", "never send them")):
        part = parts.add_parser(verb, help=text)
        which = part.add_mutually_exclusive_group(required=True)
        which.add_argument("ids", nargs="*", default=[])
        which.add_argument("--all-held", action="store_true")
        part.set_defaults(
            run=lambda args, _settings, verb=verb: scheduled.change(_api(), verb, None if args.all_held else args.ids)
        )


def _contacts(commands: Any) -> None:
    parts = commands.add_parser("contacts", help="people to write to").add_subparsers(required=True)
    part = parts.add_parser("import", help="import contacts from a CSV file, and say how far it is")
    part.add_argument("file", type=Path)
    part.add_argument(
        "--map", action="append", type=_pair, default=[], metavar="FIELD=COLUMN",
        help="a column, for email, first_name, last_name, unsubscribed or a contact property; repeatable. "
        "Without it columns are known by their names",
    )  # fmt: skip
    part.add_argument("--upsert", action="store_true", help="bring contacts that are there up to date; else left alone")
    part.add_argument("--segment", action="append", default=[], metavar="ID", help="put them into it; repeatable")
    part.add_argument(
        "--topic", action="append", type=_pair, default=[], metavar="ID=opt_in|opt_out", help="their choice; repeatable"
    )
    part.add_argument("--encoding", help="of a file that is not UTF-8 or UTF-16, such as windows-1252")
    part.add_argument("--delimiter", help="',', ';', '|' or tab; found out without it")
    part.add_argument("--webhooks", action="store_true", help="tell webhooks of every contact")
    part.add_argument("--errors", type=Path, metavar="FILE", help="put the rows that failed there, as CSV")
    part.add_argument("--preview", action="store_true", help="only print what would be made of the file, as JSON")
    part.add_argument("--no-wait", dest="wait", action="store_false", help="only upload it")
    part.set_defaults(run=_run_import)


def _run_import(args: argparse.Namespace, _settings: Settings) -> Any:
    fields = {
        "on_conflict": "upsert" if args.upsert else None,
        "encoding": args.encoding,
        "delimiter": args.delimiter,
        "webhooks": "true" if args.webhooks else None,
    }
    wanted = contacts.Wanted(args.file, dict(args.map), fields, args.segment, dict(args.topic))
    if args.preview:
        return contacts.preview(_api(), wanted)
    return contacts.import_file(_api(), wanted, args.errors, wait=args.wait)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise ValueError("NAME=VALUE")
    return name, value


def _domains(commands: Any) -> None:
    parts = commands.add_parser("domains", help="sending domains and their DNS records").add_subparsers(required=True)
    listing = parts.add_parser("list", help="print them, the newest first")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    listing.set_defaults(run=lambda args, _settings: domains.list_domains(_api(), plain=not args.json))
    add = parts.add_parser("add", help="add one, and print the records to publish")
    add.add_argument("name")
    add.add_argument("--return-path", metavar="NAME", help="the name below the domain that bounces come to")
    add.add_argument("--json", action="store_true", help="the whole answer")
    add.set_defaults(
        run=lambda args, _settings: domains.add_domain(_api(), args.name, args.return_path, plain=not args.json)
    )
    for verb, text in (
        ("verify", "look at its records in the DNS now, and print what is wrong"),
        ("rotate", "make new DKIM keys, which sign once their records are seen"),
    ):
        part = parts.add_parser(verb, help=text)
        part.add_argument("domain", help="its name or its id")
        part.add_argument("--json", action="store_true", help="the whole answer")
        part.set_defaults(
            run=lambda args, _settings, verb=verb: domains.do(_api(), verb, args.domain, plain=not args.json)
        )


def _run_send(args: argparse.Namespace, _settings: Settings) -> Any:
    mail = {"from": args.sender, "to": args.to, "subject": args.subject, "text": args.text}
    mail |= {name: value for name, value in (("html", args.html), ("priority", args.priority)) if value}
    return send(_api(), mail)


def _run_queues(args: argparse.Namespace, settings: Settings) -> Any:
    if _asks_api(args):
        return operating.list_queues(_api(), plain=not args.json)
    depths = broker.queue_depths(settings.amqp_url.get_secret_value(), _names(settings), args.wait)
    if args.json:
        return depths
    width = max(len(depth["name"]) for depth in depths)
    return [
        f"{depth['name']:<{width}}  {'missing' if depth['messages'] is None else depth['messages']:>9}"
        f"  {depth['consumers']:>3} consumers"
        for depth in depths
    ]


def _run_dead(args: argparse.Namespace, settings: Settings, what: str, *values: Any) -> Any:
    over_api: dict[str, Callable[..., Any]] = {
        "list": dead.list_letters, "show": dead.show_letter, "replay": dead.replay_letters,
    }  # fmt: skip
    if what in over_api and _asks_api(args):
        kind = "ops" if args.ops else "unrouted" if args.unrouted else "mail"
        return over_api[what](_api(), kind, *values)
    over_broker: dict[str, Callable[..., Any]] = {
        "list": dead.list_dead, "show": dead.show_dead, "replay": dead.replay_dead, "purge": dead.purge_dead,
    }  # fmt: skip
    place = shelf(_names(settings), unrouted=args.unrouted, ops=args.ops)
    return asyncio.run(over_broker[what](settings.amqp_url.get_secret_value(), place, *values))


def _broker(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--broker", action="store_true", help="ask the broker (MAILWARREN_AMQP_URL), as its administrator, not the API"
    )


def _asks_api(args: argparse.Namespace) -> bool:
    return not args.broker and bool(os.environ.get("MAILWARREN_API_URL") and os.environ.get("MAILWARREN_API_KEY"))


def _api() -> Api:
    url, key = os.environ.get("MAILWARREN_API_URL"), os.environ.get("MAILWARREN_API_KEY")
    if not url or not key:
        raise Failed("set MAILWARREN_API_URL (it ends in /v1) and MAILWARREN_API_KEY, or source .local/env")
    return Api(url, key)


def _names(settings: Settings) -> Topology:
    return Topology(settings.amqp_prefix, settings.retry_scale)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("from 1")
    return number
