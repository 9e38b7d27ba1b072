"""``mailwarren privacy``: what is stored of an address, or its erasure, through the API."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mailwarren.ingest.commands import Failed
from mailwarren.ingest.commands.api import Api

EVERY = 1.0
"""Seconds between two looks at how far it is."""
PAGE = 100
_PATH = "/privacy/requests"


def add(commands: Any, api: Callable[[], Api]) -> None:
    """Add the commands to the parser; ``api`` is asked for when one runs."""
    parts = commands.add_parser("privacy", help="what is stored of an address").add_subparsers(required=True)
    export = parts.add_parser("export", help="put all that is stored of an address into a ZIP file")
    export.add_argument("address")
    export.add_argument("--output", type=Path, metavar="FILE", help="without it export.zip")
    export.set_defaults(
        run=lambda args, _settings: export_address(api(), args.address, args.output or Path("export.zip"))
    )
    erase = parts.add_parser("erase", help="take an address out of everything that is stored; it gets no mail any more")
    erase.add_argument("address")
    erase.add_argument("--yes", action="store_true", required=True, help="it cannot be undone")
    erase.add_argument("--no-wait", dest="wait", action="store_false", help="only ask for it")
    erase.set_defaults(run=lambda args, _settings: erase_address(api(), args.address, wait=args.wait))
    admit = parts.add_parser("admit", help="let an erased address have mail again")
    admit.add_argument("address")
    admit.set_defaults(run=lambda args, _settings: api().post("/privacy/admit", {"email": args.address}))
    listing = parts.add_parser("list", help="print exports and erasures, newest first, one JSON object a line")
    listing.set_defaults(run=lambda _args, _settings: list_requests(api()))
    show = parts.add_parser("show", help="print how far one is")
    show.add_argument("id")
    show.set_defaults(run=lambda args, _settings: api().get(f"{_PATH}/{args.id}"))


def export_address(api: Api, address: str, output: Path) -> Iterator[Any]:
    """Ask for an export, say how far it is, and download it.

    Raises:
        Failed: the API cannot be reached, it said no, or the export failed.
    """
    made = api.post(_PATH, {"type": "export", "email": address})
    yield from _followed(api, made["id"])
    api.save(f"{_PATH}/{made['id']}/download", output)
    yield f"What is stored of {address}: {output}"


def erase_address(api: Api, address: str, *, wait: bool) -> Iterator[Any]:
    """Ask for an erasure, and say how far it is until it has ended.

    Raises:
        Failed: as :func:`export_address`.
    """
    made = api.post(_PATH, {"type": "erasure", "email": address})
    yield made
    if wait:
        yield from _followed(api, made["id"])


def list_requests(api: Api) -> Iterator[dict[str, Any]]:
    """All of them, newest first.

    Raises:
        Failed: the API cannot be reached, or said no.
    """
    after = None
    while True:
        page = api.get(_PATH, limit=PAGE, after=after)
        yield from page["data"]
        if not page["has_more"]:
            return
        after = page["data"][-1]["id"]


def _followed(api: Api, ident: str) -> Iterator[str]:
    last = None
    while True:
        shown = api.get(f"{_PATH}/{ident}")
        counts = ", ".join(f"{number:,} {name}" for name, number in shown["counts"].items() if number)
        line = f"{shown['type']} {shown['status']} {shown['percent']:g} % {shown['stage'] or ''}: {counts or 'nothing'}"
        if line != last:
            yield line
            last = line
        if shown["status"] == "failed":
            raise Failed(shown["error"] or "it failed")
        if shown["status"] == "completed":
            return
        time.sleep(EVERY)
