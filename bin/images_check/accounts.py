"""Who connects as whom: setup as the servers' administrator, each service with the account that setup makes for it."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from mailwarren.contracts.access import Service
from mailwarren.ingest.commands.access import role_name, user_name
from mailwarren.store.access import ROLES


def variables(amqp: str, management: str, database: str) -> dict[str, dict[str, str]]:
    """The variables of ``setup`` and of each service, with passwords made now.

    Args:
        amqp: the broker as its administrator.
        management: its management API, likewise.
        database: as its owner.
    """
    passwords = {service: secrets.token_hex(20) for service in Service}
    found: dict[str, dict[str, str]] = {
        "setup": {
            "MAILWARREN_AMQP_URL": amqp,
            "MAILWARREN_DATABASE_URL": database,
            "MAILWARREN_BROKER_ADMIN_URL": management,
            **{f"MAILWARREN_{service.upper()}_PASSWORD": password for service, password in passwords.items()},
        }
    }
    for service, password in passwords.items():
        found[service.value] = {"MAILWARREN_AMQP_URL": _as(amqp, user_name(service), password)}
        if service in ROLES:
            found[service.value]["MAILWARREN_DATABASE_URL"] = _as(database, role_name(service), password)
    monitoring = _as(management, user_name(Service.INGEST), passwords[Service.INGEST])
    for reader in ("setup", Service.INGEST.value):
        found[reader]["MAILWARREN_MANAGEMENT_URL"] = monitoring
    return found


def _as(url: str, user: str, password: str) -> str:
    """The same server as somebody else."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}").geturl()
