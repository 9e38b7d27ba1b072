"""Contacts and broadcasts of a system under test, as many as are wanted in a moment."""

import itertools
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from mailwarren.contracts.ids import broadcast_email_id, new_id
from mailwarren.devstack.harness.counts import Promise
from mailwarren.devstack.harness.system import System

SLICE = 20_000
_numbers = itertools.count()

_CONTACTS = """
INSERT INTO contacts (tenant, id, email, email_key, first_name, unsubscribed, properties, created_at, updated_at)
SELECT $1, id, address, address, 'Name ' || n, false, '{}', now(), now()
FROM unnest($2::uuid[], $3::text[]) WITH ORDINALITY AS t (id, address, n)
"""
_MEMBERS = "INSERT INTO contact_segments (tenant, segment, contact) SELECT $1, $2, unnest($3::uuid[])"


def make_segment(system: System, count: int, *, domains: int = 20) -> tuple[str, dict[UUID, str]]:
    """A segment of the first tenant, straight into the tables; its id, and the addresses of its contacts by theirs."""
    tenant, segment, number = system.query("SELECT tenant FROM api_keys LIMIT 1")[0]["tenant"], new_id(), next(_numbers)
    system.query(
        "INSERT INTO segments (tenant, id, name, created_at, updated_at) VALUES ($1, $2, 'all', now(), now())",
        tenant,
        segment,
    )
    people = {new_id(): f"p{number}x{n}@d{n % domains}.test" for n in range(count)}
    ids, addresses = list(people), list(people.values())
    for at in range(0, count, SLICE):
        system.query(_CONTACTS, tenant, ids[at : at + SLICE], addresses[at : at + SLICE])
        system.query(_MEMBERS, tenant, segment, ids[at : at + SLICE])
    return str(segment), people


def promised(system: System, broadcast: str, people: Mapping[UUID, str]) -> list[Promise]:
    """What a broadcast from ``sender.test`` promises."""
    return [system.promise(str(broadcast_email_id(broadcast, one)), address) for one, address in people.items()]


def broadcast_row(system: System, broadcast: str) -> Any:
    """How far it is."""
    (found,) = system.query("SELECT state, published FROM broadcasts WHERE id = $1", UUID(broadcast))
    return found
