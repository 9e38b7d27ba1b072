"""Which emails a list is asked for: one way to choose them, so that each has its index (``docs/adr/0039``)."""

from collections.abc import Mapping
from dataclasses import dataclass

from mailwarren.ingest.domain.addresses import InvalidAddress
from mailwarren.ingest.domain.contacts import email_key
from mailwarren.ingest.domain.refusal import invalid_parameter
from mailwarren.store.states import State

FILTERS = ("to", "tag", "state")
MAX_TAG = 256
"""Characters of a tag's name, and of its value."""


@dataclass(frozen=True, slots=True)
class ToAddress:
    """Emails of which a delivery goes to the address (its key)."""

    address: str


@dataclass(frozen=True, slots=True)
class InState:
    """Emails of which a delivery is in the state."""

    state: State


@dataclass(frozen=True, slots=True)
class Tagged:
    """Emails with the tag."""

    name: str
    value: str


Filter = ToAddress | InState | Tagged


def asked_filter(query: Mapping[str, str]) -> Filter | None:
    """What a query string chooses by; None when by nothing of this.

    Raises:
        Refusal: 422 naming the parameter.
    """
    given = [name for name in (*FILTERS, "broadcast_id") if name in query]
    if len(given) > 1:
        raise invalid_parameter(f"`{given[0]}` and `{given[1]}` cannot be used together.")
    if "to" in query:
        try:
            return ToAddress(email_key(query["to"]))
        except InvalidAddress as error:
            raise invalid_parameter(f"The `to` parameter is no address: {error}.") from error
    if "state" in query:
        if query["state"] not in set(State):
            raise invalid_parameter(f"The `state` parameter is one of {', '.join(sorted(State))}.")
        return InState(State(query["state"]))
    return _tagged(query["tag"]) if "tag" in query else None


def _tagged(text: str) -> Tagged:
    name, colon, value = text.partition(":")
    if not (colon and name and value) or len(name) > MAX_TAG or len(value) > MAX_TAG or "\0" in text:
        raise invalid_parameter("The `tag` parameter is `name:value`, with 1 to 256 characters each.")
    return Tagged(name, value)
