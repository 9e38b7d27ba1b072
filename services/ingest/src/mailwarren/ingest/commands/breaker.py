"""``mailwarren breaker``: bulk mail that waits because too much of the mail bounces."""

from collections.abc import Callable
from typing import Any

from mailwarren.ingest.commands.api import Api


def add(commands: Any, api: Callable[[], Api]) -> None:
    """Add the commands to the parser."""
    parts = commands.add_parser("breaker", help="bulk mail that is paused because too much bounces").add_subparsers(
        required=True
    )
    show = parts.add_parser("show", help="how much bounces, and what is paused for it")
    show.add_argument("--json", action="store_true", help="one JSON object")
    show.set_defaults(run=lambda args, _settings: show_breaker(api(), plain=not args.json))
    parts.add_parser("resume", help="go on with bulk mail").set_defaults(run=lambda _args, _settings: resume(api()))


def show_breaker(api: Api, *, plain: bool) -> Any:
    """How it stands.

    Raises:
        Failed: the API said no; so for all of these.
    """
    found = api.get("/breaker")
    if not plain:
        return found
    said = (
        f"{found['state']}: {found['rate']} % of {found['decided']} mails of the last {found['window_hours']} hours "
        f"bounced ({found['bounced']}) or drew complaints ({found['complained']})"
    )
    lines = [said]
    lines += [f"bulk mail is paused since {one['since'][:19]}: {one['sample']}" for one in found["pauses"]]
    if found["ended_at"]:
        lines.append(f"the last pause was ended at {found['ended_at'][:19]} by {found['ended_by']}")
    return lines


def resume(api: Api) -> str:
    """Go on."""
    ended = api.post("/breaker/resume", None)["resumed"]
    return f"bulk mail goes on; ended {', '.join(ended)}"
