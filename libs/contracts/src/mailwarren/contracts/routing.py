"""Routing keys (DESIGN §4, stop 4): pure functions from lane and domain to the key of one queue."""

from typing import Final

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shards import shard_of

ERASED_DOMAIN: Final = "erased.invalid"
"""Of the addresses that stand where an erased one stood: nobody's (RFC 2606)."""


def domain_of(address: str) -> str:
    """The domain part of an address, lower case."""
    return address.rpartition("@")[2].lower()


def route(lane: Lane, domain: str) -> str:
    """``<lane>.<shard>``: the key under which a parcel for ``domain`` is published to ``mail.accept``."""
    return f"{lane}.{shard_of(domain)}"


def ladder_key(lane: str, shard: str, rung: str, partition: int | None) -> str:
    """``<lane>.<shard>.<rung>.<partition>``: reaches the rung and the event partition in one publish.

    ``partition`` None is for a parcel that only goes on waiting: its key ends in ``-`` and reaches the rung alone.
    """
    return f"{lane}.{shard}.{rung}.{'-' if partition is None else partition}"


def partition_key(partition: int) -> str:
    """The key of an event partition on ``mail.events`` and ``mail.control.log``."""
    return str(partition)
