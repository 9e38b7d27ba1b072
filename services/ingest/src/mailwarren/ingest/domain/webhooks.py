"""Webhooks as callers give them: an address of theirs, and what it wants to be told of."""

from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, Meta, UnsetType

from mailwarren.contracts.public_addresses import is_public
from mailwarren.contracts.webhooks import NOT_MADE_YET, EventType
from mailwarren.ingest.domain.refusal import Refusal, invalid, missing
from mailwarren.store.states import WebhookStatus

MAX_WEBHOOKS = 50
"""Of a tenant."""
MAX_URL = 2048
BOTH_SIGN = 24 * 3600
"""Seconds after a rotation for which the secret before signs too."""

Url = Annotated[str, Meta(description="`https://…`; at most 2048 characters, without a user name or a password.")]
Types = Annotated[list[EventType], Meta(description="At least one.")]


class WebhookBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/webhooks``."""

    endpoint: Url
    events: Types


class WebhookChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``PATCH /v1/webhooks/{id}``: what is left out stays."""

    endpoint: Url | UnsetType = UNSET
    events: Types | UnsetType = UNSET
    status: Annotated[
        WebhookStatus | UnsetType,
        Meta(description="`enabled` also takes up again what was disabled because nothing came through."),
    ] = UNSET
    webhook_id: Annotated[str | UnsetType, Meta(description="What the path says; SDKs send it along.")] = UNSET


def check_endpoint(url: str, *, private: bool) -> str:
    """An address that requests may be sent to, as far as its text says: its name is resolved when they are.

    Args:
        url: as it was given.
        private: private addresses, and plain HTTP, are allowed here.

    Raises:
        Refusal: 422.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _bad(f"{error}.") from error
    if parts.scheme not in ({"https", "http"} if private else {"https"}) or not parts.hostname:
        raise _bad("give an address that starts with https://.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise _bad("an address with a user name, a password or a fragment is not called.")
    if not url.isascii():
        raise _bad("write it in ASCII: the host as xn--…, the path percent-encoded.")
    if len(url) > MAX_URL or not url.isprintable() or " " in url or port == 0:
        raise _bad("it is no address that can be called.")
    if not private and not _may_be_public(parts.hostname):
        raise _bad("its address is not public.")
    return url


def check_events(events: list[EventType]) -> list[str]:
    """The types, each once.

    Raises:
        Refusal: 422, none, or one that this version never makes.
    """
    if not events:
        raise missing("Missing `events` field: name at least one type.")
    for position, event in enumerate(events):
        if event in NOT_MADE_YET:
            raise invalid(f"Invalid `events[{position}]` field: `{event}` is not supported yet. Remove it.")
    return list(dict.fromkeys(event.value for event in events))


def _may_be_public(host: str) -> bool:
    try:
        return is_public(ip_address(host.partition("%")[0]))
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")


def _bad(why: str) -> Refusal:
    return invalid(f"Invalid `endpoint` field: {why}")
