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
from mailwarren.ingest.cli_api import WAIT, add_commands
from mailwarren.ingest.commands import Failed, access, broker, data_keys, database
from mailwarren.ingest.commands.setup import Wishes, setup
from mailwarren.ingest.settings import Settings
from mailwarren.runtime.vault import WrongKeys, new_key, read_vault

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
    _data_keys(commands)
    add_commands(commands)
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


def _data_keys(commands: Any) -> None:
    parts = commands.add_parser("data-keys", help="what secrets in the database are encrypted with").add_subparsers(
        required=True
    )
    new = parts.add_parser("new", help="print a key for the file of MAILWARREN_DATA_KEYS")
    new.set_defaults(run=lambda _args, _settings: new_key())
    renew = parts.add_parser("renew", help="encrypt all secrets with the first key of the file")
    renew.set_defaults(run=_run_renew)


def _run_renew(_args: argparse.Namespace, settings: Settings) -> Any:
    if settings.data_keys is None:
        raise Failed("set MAILWARREN_DATA_KEYS, the file with the keys")
    try:
        vault = read_vault(settings.data_keys)
    except WrongKeys as error:
        raise Failed(str(error)) from error
    return asyncio.run(data_keys.renew(_database_url(settings), vault))


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


if __name__ == "__main__":
    sys.exit(main())
