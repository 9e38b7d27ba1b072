"""``mailwarren setup``: all that has to be there before services can work, in its order.

Every step may be repeated and finds what an earlier run has done, so a run that was killed is simply run again, and two
at once end alike.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mailwarren.contracts.access import Service
from mailwarren.contracts.topology import Topology
from mailwarren.ingest.commands import Failed, broker, database
from mailwarren.ingest.commands.access import Accounts, apply_broker_access, apply_database_access, vhost_of
from mailwarren.ingest.commands.cluster import Secrets, claim
from mailwarren.ingest.domain.tokens import new_token
from mailwarren.ingest.settings import Settings

OWNER = "owner"
API_KEY, API_URL = "api-key", "api-url"

Step = Callable[[float], str | None]
"""Does its work within so many seconds and says what was done; None when there was nothing to do."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a run is asked for beside the settings."""

    wait: float
    """Seconds for servers to come up, over all steps."""
    owner_secret: str | None = None
    """The Secret that gets the first API key."""
    environment: Mapping[str, str] | None = None


def setup(settings: Settings, topology: Topology, wishes: Wishes) -> Iterator[dict[str, Any]]:
    """Do all steps; yields a line about each as it is done.

    Raises:
        Failed: a step could not be done; the line before says so too.
    """
    deadline = time.monotonic() + wishes.wait
    for name, step in _steps(settings, topology, wishes):
        began = time.monotonic()
        line: dict[str, Any] = {"event": "setup.step", "step": name}
        try:
            said = step(max(0.0, deadline - began))
        except Failed as error:
            yield line | {"status": "failed", "reason": str(error), "seconds": _since(began)}
            raise Failed(f"{name}: {error}") from error
        yield line | {"status": "done" if said else "skipped", "detail": said, "seconds": _since(began)}


def _steps(settings: Settings, topology: Topology, wishes: Wishes) -> list[tuple[str, Step]]:
    amqp, postgres = settings.amqp_url.get_secret_value(), settings.database_url.get_secret_value()
    environment = wishes.environment or {}
    return [
        ("broker access", lambda wait: _broker_access(amqp, topology, environment, wait)),
        ("topology", lambda wait: broker.apply_topology(amqp, topology, wait)),
        ("migrations", lambda wait: asyncio.run(database.migrate(postgres, wait))),
        ("database access", lambda wait: _database_access(postgres, environment, wait)),
        ("owner", lambda wait: _owner(postgres, wishes.owner_secret, environment, wait)),
    ]


def _broker_access(url: str, topology: Topology, environment: Mapping[str, str], wait: float) -> str | None:
    """The services' accounts on the broker, when there is an administrator's URL."""
    admin = environment.get("MAILWARREN_BROKER_ADMIN_URL")
    if not admin:
        return None
    accounts = Accounts.from_environment(environment)
    return apply_broker_access(admin, accounts, topology, vhost_of(url), wait)


def _database_access(url: str, environment: Mapping[str, str], wait: float) -> str | None:
    """The services' roles in the database, when there are passwords for them."""
    if not any(environment.get(f"MAILWARREN_{service.upper()}_PASSWORD") for service in Service):
        return None
    return asyncio.run(apply_database_access(url, Accounts.from_environment(environment), wait))


def _owner(url: str, name: str | None, environment: Mapping[str, str], wait: float) -> str | None:
    """The first API key: in the Secret before it is in the database, so that a repeat changes nothing."""
    if name is None:
        return None
    api_url = environment.get("MAILWARREN_API_URL")
    began = time.monotonic()
    with Secrets.of_this_pod(wait) as kept:
        token, done = claim(
            kept, name, API_KEY, lambda: new_token(secrets.choice), {API_URL: api_url} if api_url else {}
        )
    left = max(0.0, wait - _since(began))
    try:
        made = asyncio.run(database.bootstrap(url, OWNER, None, token, left))
    except database.KeyDeleted:
        return f"Secret {name} holds an API key that was deleted: delete the Secret to get another"
    return f"{done} Secret {name}; its API key is {made['id']}"


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)
