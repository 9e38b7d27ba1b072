"""``mailwarren broadcasts``: broadcasts, through the API."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mailwarren.ingest.commands.api import Api

PAGE = 100
VERBS = (
    ("send", "send a draft, now or --at a time"),
    ("pause", "publish nothing more of it for now"),
    ("resume", "go on with one that is paused, held or failed"),
    ("cancel", "publish nothing more of it, and withdraw what waits"),
    ("resend", "send it again to those whose mail failed or expired"),
)


def add(commands: Any, api: Callable[[], Api]) -> None:
    """Add the commands to the parser; ``api`` is asked for when one runs."""
    parts = commands.add_parser("broadcasts", help="one content to all of a segment").add_subparsers(required=True)
    listing = parts.add_parser("list", help="print them, newest first, one JSON object a line")
    listing.set_defaults(run=lambda _args, _settings: list_broadcasts(api()))
    for verb, text in (("show", "print one"), ("stats", "print what became of its mails, counted in the ledger")):
        part = parts.add_parser(verb, help=text)
        part.add_argument("id")
        path = "" if verb == "show" else "/stats"
        part.set_defaults(run=lambda args, _settings, path=path: api().get(f"/broadcasts/{args.id}{path}"))
    for verb, text in VERBS:
        part = parts.add_parser(verb, help=text)
        part.add_argument("id")
        if verb == "send":
            part.add_argument("--at", metavar="TIME", help="ISO 8601, or `in 2 hours`")
        part.set_defaults(run=lambda args, _settings, verb=verb: _do(api(), verb, args))
    test = parts.add_parser("test", help="send the mail to a contact to somebody else, now")
    test.add_argument("id")
    test.add_argument("--to", action="append", required=True, help="repeatable")
    test.add_argument("--contact", help="whose mail: an id or an address; without it the fallbacks show")
    test.set_defaults(run=lambda args, _settings: send_test(api(), args.id, args.to, args.contact))


def list_broadcasts(api: Api) -> Iterator[dict[str, Any]]:
    """All of them, newest first.

    Raises:
        Failed: the API cannot be reached, or said no.
    """
    after = None
    while True:
        page = api.get("/broadcasts", limit=PAGE, after=after)
        yield from page["data"]
        if not page["has_more"]:
            return
        after = page["data"][-1]["id"]


def send_test(api: Api, ident: str, to: Sequence[str], contact: str | None) -> dict[str, Any]:
    """Send the mail that a contact would get.

    Raises:
        Failed: as :func:`list_broadcasts`.
    """
    return api.post(f"/broadcasts/{ident}/test", {"to": list(to)} | ({"contact": contact} if contact else {}))


def _do(api: Api, verb: str, args: argparse.Namespace) -> dict[str, Any]:
    at = getattr(args, "at", None)
    return api.post(f"/broadcasts/{args.id}/{verb}", {"scheduled_at": at} if at else {})
