"""Sending domains straight into the table, for tests of mail that do not look at records or keys."""

from typing import Any
from uuid import UUID

from mailwarren.contracts.ids import new_id


def add_domain(place: Any, tenant: UUID, name: str, *, tls: str = "opportunistic", returns: bool = False) -> None:
    """A verified domain; ``returns``: its return path can be used."""
    place.sql(
        "INSERT INTO domains (tenant, id, name, region, return_path, tls, state, findings, returns, created_at, "
        "updated_at, next_check_at) SELECT $1, $2, $3, 'us-east-1', 'send', $4, 'verified', '{}', $5, now(), "
        "clock_timestamp(), now() + interval '1 hour'",
        tenant, new_id(), name, tls, returns,
    )  # fmt: skip
