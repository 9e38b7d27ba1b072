"""``mailwarren``: the operator's command line.

Exit status 0: done; 1: could not be done, with the reason on stderr; 2: wrong arguments. What programs read is JSON.
Settings come from the same ``MAILWARREN_*`` variables as the services'.
"""

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import structlog
from pydantic import ValidationError

from mailwarren.contracts.topology import Topology
from mailwarren.ingest.commands import Failed, access, broker, database, dead
from mailwarren.ingest.commands.send import send
from mailwarren.ingest.commands.setup import Wishes, setup
from mailwarren.ingest.settings import Settings

WAIT = 30.0
SETUP_WAIT = 300.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status."""
    # stdout is for the result.
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace, Settings], Any] = arguments.run
    try:
        _say(command(arguments, Settings()))
    except Failed as error:
        sys.stderr.write(f"mailwarren: {error}\n")
        return 1
    except ValidationError as error:
        sys.stderr.write(f"mailwarren: wrong settings: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _say(result: Any) -> None:
    lines = result if isinstance(result, list | Iterator) else [result]
    for line in lines:
        sys.stdout.write((line if isinstance(line, str) else json.dumps(line, default=str)) + "\n")
        sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mailwarren", description="Operate Mailwarren.")
    commands = parser.add_subparsers(required=True, metavar="command")
    _setup(commands)
    _topology(commands)
    _database(commands)
    _access(commands)
    _dead(commands)
    queues = commands.add_parser("queues", help="how many messages wait in each queue")
    queues.add_argument("--json", action="store_true", help="one JSON object a line")
    _wait(queues)
    queues.set_defaults(run=_run_queues)
    _send(commands)
    return parser


def _setup(commands: Any) -> None:
    parser = commands.add_parser(
        "setup", help="all that services need, in order; may be repeated, one JSON line a step"
    )
    parser.add_argument(
        "--wait", type=float, default=SETUP_WAIT, metavar="S", help="seconds for all servers to come up"
    )
    parser.add_argument(
        "--owner-secret", metavar="NAME", help="put the first API key into this Kubernetes Secret (inside a cluster)"
    )
    _shaping_file(parser)
    parser.set_defaults(
        run=lambda args, settings: setup(
            settings, _names(settings, args.shaping), Wishes(args.wait, args.owner_secret, dict(os.environ))
        )
    )


def _topology(commands: Any) -> None:
    parts = commands.add_parser("topology", help="exchanges, queues and bindings").add_subparsers(required=True)
    apply = parts.add_parser("apply", help="declare them; the only command that does")
    _wait(apply)
    _shaping_file(apply)
    apply.set_defaults(
        run=lambda args, settings: broker.apply_topology(_amqp(settings), _names(settings, args.shaping), args.wait)
    )
    show = parts.add_parser("show", help="print them, one JSON object a line")
    _shaping_file(show)
    show.set_defaults(run=lambda args, settings: broker.show_topology(_names(settings, args.shaping)))


def _database(commands: Any) -> None:
    migrate = commands.add_parser("migrate", help="bring the database up to date")
    _wait(migrate)
    migrate.set_defaults(run=lambda args, settings: asyncio.run(database.migrate(_database_url(settings), args.wait)))
    keys = commands.add_parser("keys", help="API keys").add_subparsers(required=True)
    bootstrap = keys.add_parser("bootstrap", help="make the first tenant and a full-access key, printed as JSON")
    bootstrap.add_argument("--name", required=True)
    bootstrap.add_argument("--domain", action="append", help="the key may send from this domain only; repeatable")
    bootstrap.add_argument(
        "--token-env", metavar="VARIABLE", help="install the token in this variable, so that a repeat changes nothing"
    )
    _wait(bootstrap)
    bootstrap.set_defaults(run=_run_bootstrap)


def _access(commands: Any) -> None:
    parts = commands.add_parser("access", help="accounts of the services").add_subparsers(required=True)
    apply = parts.add_parser("apply", help="make users and roles with what each service needs, and no more")
    _wait(apply)
    apply.set_defaults(run=_run_access)
    show = parts.add_parser("show", help="print what each may do, one JSON object a line")
    show.set_defaults(
        run=lambda _args, settings: access.show_access(
            _names(settings), os.environ.get("MAILWARREN_ACCOUNTS") or access.DEFAULT_NAME
        )
    )


def _dead(commands: Any) -> None:
    parser = commands.add_parser("dead", help="parked messages")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--unrouted", action="store_true", help="those of mail.unrouted instead of mail.dead")
    which.add_argument("--ops", action="store_true", help="those of ops.dead: orders for ingest's workers")
    parts = parser.add_subparsers(required=True)
    listing = parts.add_parser("list", help="list them, oldest first; they stay where they are")
    listing.add_argument("--limit", type=_count, default=100)
    listing.set_defaults(run=lambda args, settings: _run_dead(args, settings, dead.list_dead, args.limit))
    show = parts.add_parser("show", help="one of them, with its headers and recipients")
    show.add_argument("number", type=_count)
    show.set_defaults(run=lambda args, settings: _run_dead(args, settings, dead.show_dead, args.number))
    replay = parts.add_parser("replay", help="send them back where they came from")
    which = replay.add_mutually_exclusive_group(required=True)
    which.add_argument("numbers", type=_count, nargs="*", default=[])
    which.add_argument("--all", action="store_true")
    replay.set_defaults(
        run=lambda args, settings: _run_dead(args, settings, dead.replay_dead, None if args.all else args.numbers)
    )
    purge = parts.add_parser("purge", help="delete all of them")
    purge.add_argument("--yes", action="store_true", required=True, help="they cannot be brought back")
    purge.set_defaults(run=lambda args, settings: _run_dead(args, settings, dead.purge_dead))


def _send(commands: Any) -> None:
    parser = commands.add_parser("send", help="one mail through the API (MAILWARREN_API_URL, MAILWARREN_API_KEY)")
    parser.add_argument("--from", dest="sender", required=True)
    parser.add_argument("--to", action="append", required=True, help="repeatable")
    parser.add_argument("--subject", default="A mail from Mailwarren")
    parser.add_argument("--text", default="Hello. This mail was sent with the mailwarren command.")
    parser.add_argument("--html")
    parser.add_argument("--priority", choices=["high", "normal", "bulk"])
    parser.set_defaults(run=_run_send)


def _run_queues(args: argparse.Namespace, settings: Settings) -> Any:
    depths = broker.queue_depths(_amqp(settings), _names(settings), args.wait)
    if args.json:
        return depths
    width = max(len(depth["name"]) for depth in depths)
    return [
        f"{depth['name']:<{width}}  {'missing' if depth['messages'] is None else depth['messages']:>9}"
        f"  {depth['consumers']:>3} consumers"
        for depth in depths
    ]


def _run_access(args: argparse.Namespace, settings: Settings) -> Any:
    accounts = access.Accounts.from_environment(os.environ)
    said = []
    if admin := os.environ.get("MAILWARREN_BROKER_ADMIN_URL"):
        vhost = access.vhost_of(_amqp(settings))
        said.append(access.apply_broker_access(admin, accounts, _names(settings), vhost, args.wait))
    said.append(asyncio.run(access.apply_database_access(_database_url(settings), accounts, args.wait)))
    return said


def _run_bootstrap(args: argparse.Namespace, settings: Settings) -> Any:
    token = os.environ.get(args.token_env) if args.token_env else None
    if args.token_env and not token:
        raise Failed(f"the variable {args.token_env} is empty")
    return asyncio.run(database.bootstrap(_database_url(settings), args.name, args.domain, token, args.wait))


def _run_dead(args: argparse.Namespace, settings: Settings, command: Callable[..., Any], *values: object) -> Any:
    place = dead.shelf(_names(settings), unrouted=args.unrouted, ops=args.ops)
    return asyncio.run(command(_amqp(settings), place, *values))


def _run_send(args: argparse.Namespace, _settings: Settings) -> Any:
    url, key = os.environ.get("MAILWARREN_API_URL"), os.environ.get("MAILWARREN_API_KEY")
    if not url or not key:
        raise Failed("set MAILWARREN_API_URL (it ends in /v1) and MAILWARREN_API_KEY, or source .local/env")
    mail = {"from": args.sender, "to": args.to, "subject": args.subject, "text": args.text}
    mail |= {name: value for name, value in (("html", args.html), ("priority", args.priority)) if value}
    return send(url, key, mail)


def _amqp(settings: Settings) -> str:
    return settings.amqp_url.get_secret_value()


def _database_url(settings: Settings) -> str:
    return settings.database_url.get_secret_value()


def _names(settings: Settings, shaping: str | None = None) -> Topology:
    return Topology(settings.amqp_prefix, settings.retry_scale, broker.sites_of(shaping))


def _shaping_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shaping",
        metavar="FILE",
        default=os.environ.get("MAILWARREN_SHAPING_FILE"),
        help="the senders' shaping.toml (MAILWARREN_SHAPING_FILE): its sites get slots too",
    )


def _wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--wait", type=float, default=WAIT, metavar="S", help="seconds for the server to come up")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("from 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
