"""``mailwarren scheduled``: emails that wait for their time, through the API."""

from collections.abc import Iterator, Sequence
from typing import Any

from mailwarren.ingest.commands.api import Api

PAGE = 100


def list_scheduled(api: Api, *, held: bool) -> Iterator[dict[str, Any]]:
    """All that wait, the next due first; only those that wait for a person with ``held``.

    Raises:
        Failed: the API cannot be reached, or said no.
    """
    after = None
    while True:
        page = api.get("/scheduled", limit=PAGE, state="held" if held else None, after=after)
        yield from page["data"]
        if not page["has_more"]:
            return
        after = page["data"][-1]["id"]


def change(api: Api, verb: str, ids: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    """Release or cancel these, or all that are held.

    Raises:
        Failed: as :func:`list_scheduled`; what comes before it in the list is done.
    """
    if ids is None:
        ids = [email["id"] for email in list_scheduled(api, held=True)]
    for ident in ids:
        yield api.post(f"/emails/{ident}/{verb}", None)
