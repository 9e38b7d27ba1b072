"""``mailwarren access``: an account for each service, in RabbitMQ and in Postgres, with what it needs and no more.

Who may do what stands in :mod:`mailwarren.contracts.access` and :mod:`mailwarren.store.access`. Everything here may be
repeated: what is there already is brought to the same state. Passwords appear in no output.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import asyncpg
import httpx

from mailwarren.contracts.access import OPTIONAL, Rights, Service, broker_rights
from mailwarren.contracts.topology import Topology
from mailwarren.ingest.commands import Failed
from mailwarren.ingest.commands.roles import Role, RoleTrouble, apply_roles
from mailwarren.store.access import FUNCTIONS, ROLES, table_rights
from mailwarren.store.engine import dsn

TIMEOUT = 10.0
DEFAULT_NAME = "mailwarren"
_PAUSE = 0.5
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_PASSWORD = re.compile(r"[0-9A-Za-z]{8,128}")
_PASSIVE_CONFIGURES = ("4.2.6", "4.3.0")
"""RabbitMQ versions that want the right to configure from whoever asks for a queue's depth."""


@dataclass(frozen=True)
class Accounts:
    """The services' accounts.

    Args:
        passwords: of each service, letters and digits; the same in RabbitMQ and in Postgres. An optional service
            without one gets no account.
        name: begins the accounts' names; systems that share a server need different ones.
        monitoring: ingest may also read the management API, for ``MAILWARREN_MANAGEMENT_URL``.

    Raises:
        Failed: a password or the name cannot be used.
    """

    passwords: Mapping[Service, str] = field(repr=False)
    name: str = DEFAULT_NAME
    monitoring: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise Failed("accounts are named with up to 40 small letters, digits and hyphens, a letter first")
        for service in Service:
            password = self.passwords.get(service, "")
            if not _PASSWORD.fullmatch(password) and (password or service not in OPTIONAL):
                raise Failed(f"MAILWARREN_{service.upper()}_PASSWORD has to be 8 to 128 letters and digits")

    @property
    def services(self) -> list[Service]:
        """Those that get an account."""
        return [service for service in Service if self.passwords.get(service)]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Accounts":
        """From ``MAILWARREN_ACCOUNTS`` and ``MAILWARREN_{INGEST,SENDER,TRACKER}_PASSWORD`` (and ``…FLOWER…``, if any).

        Ingest's user may read the management API when ``MAILWARREN_MANAGEMENT_URL`` names that user.

        Raises:
            Failed: a variable is missing or cannot be used.
        """
        name = environ.get("MAILWARREN_ACCOUNTS") or DEFAULT_NAME
        management = urlsplit(environ.get("MAILWARREN_MANAGEMENT_URL", ""))
        return cls(
            {service: environ.get(f"MAILWARREN_{service.upper()}_PASSWORD", "") for service in Service},
            name,
            monitoring=unquote(management.username or "") == user_name(Service.INGEST, name),
        )


def user_name(service: Service, name: str = DEFAULT_NAME) -> str:
    """A service's RabbitMQ user."""
    return f"{name}-{service}"


def role_name(service: Service, name: str = DEFAULT_NAME) -> str:
    """A service's Postgres role."""
    return f"{name}-{service}".replace("-", "_")


def vhost_of(amqp_url: str) -> str:
    """The virtual host in a broker's URL."""
    return unquote(urlsplit(amqp_url).path[1:]) or "/"


def show_access(topology: Topology, name: str = DEFAULT_NAME) -> list[dict[str, Any]]:
    """What :func:`apply_broker_access` and :func:`apply_database_access` set, without passwords."""
    shown: list[dict[str, Any]] = []
    for service, rights in broker_rights(topology).items():
        topics = [{"exchange": one.exchange, "write": one.write, "read": one.read} for one in rights.topics]
        shown.append({"rabbitmq": user_name(service, name), **_permissions(rights), "topics": topics})
    for role in _roles(name):
        tables = {table: sorted(held) for table, held in role.tables.items() if held}
        shown.append({"postgres": role.name, "tables": tables, "functions": list(role.functions)})
    return shown


def apply_broker_access(admin_url: str, accounts: Accounts, topology: Topology, vhost: str, wait: float) -> str:
    """Make the virtual host, when there is none, the users and their permissions.

    Args:
        admin_url: of the management API, ``http://user:password@host:15672``, an administrator.
        accounts: whose.
        topology: the names that the permissions are about.
        vhost: the virtual host.
        wait: seconds for the broker to come up.

    Raises:
        Failed: no broker, or it refused.
    """
    parts = urlsplit(admin_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not parts.username:
        raise Failed("MAILWARREN_BROKER_ADMIN_URL looks like http://user:password@host:15672")
    place = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    admin = unquote(parts.username)
    with httpx.Client(base_url=f"{place}/api/", auth=(admin, unquote(parts.password or "")), timeout=TIMEOUT) as api:
        version = _overview(api, place, wait)
        at = quote(vhost, safe="")
        if _call(api, "GET", f"vhosts/{at}", missing=True) is None:
            _call(api, "PUT", f"vhosts/{at}", {})
            _call(api, "PUT", f"permissions/{at}/{quote(admin, safe='')}", dict.fromkeys(_KINDS, ".*"))
        rights_of = broker_rights(topology)
        for service in accounts.services:
            rights = rights_of[service]
            tags = "monitoring" if accounts.monitoring and service is Service.INGEST else ""
            login = {"password": accounts.passwords[service], "tags": tags}
            _apply_user(api, at, user_name(service, accounts.name), login, rights, topology=topology)
    users = ", ".join(user_name(service, accounts.name) for service in accounts.services)
    note = f"; take a newer RabbitMQ than {version}, which shows no depths to them" * (version in _PASSIVE_CONFIGURES)
    return f"RabbitMQ: users {users} with their permissions in virtual host {vhost}{note}"


async def apply_database_access(url: str, accounts: Accounts, wait: float) -> str:
    """Make the roles that are missing, and grant them what they need; take from them what they do not need.

    Args:
        url: of the database, as its owner.
        accounts: whose.
        wait: seconds for the database to come up.

    Raises:
        Failed: no database, the migrations have not run, or a role is missing and may not be made.
    """
    deadline = time.monotonic() + wait
    roles = _roles(accounts.name)
    passwords = {role_name(service, accounts.name): accounts.passwords[service] for service in ROLES}
    while True:
        try:
            connection = await asyncpg.connect(dsn(url), timeout=TIMEOUT, command_timeout=60)
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError) as error:
            if time.monotonic() >= deadline:
                raise Failed(f"no database after {wait:g} s: {type(error).__name__}") from error
            await asyncio.sleep(_PAUSE)
        except asyncpg.PostgresError as error:
            raise Failed(f"the database let nobody in: {type(error).__name__}: {error}") from error
        else:
            break
    try:
        async with connection.transaction():
            done = await apply_roles(connection, roles, passwords)
    except RoleTrouble as error:
        raise Failed(str(error)) from error
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Failed(f"the roles could not be set: {type(error).__name__}: {error}") from error
    finally:
        await connection.close()
    return f"Postgres: {done}"


class _Refused(Failed):
    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


_KINDS = ("configure", "write", "read")


def _permissions(rights: Rights) -> dict[str, str]:
    return {kind: getattr(rights, kind) for kind in _KINDS}


def _roles(name: str) -> list[Role]:
    return [
        Role(
            role_name(service, name),
            table_rights(service),
            tuple(function for function, caller in FUNCTIONS.items() if caller is service),
        )
        for service in ROLES
    ]


def _apply_user(
    api: httpx.Client, at: str, user: str, login: dict[str, str], rights: Rights, *, topology: Topology
) -> None:
    _call(api, "PUT", f"users/{user}", login)
    # First what narrows: between the two calls nobody may do more than afterwards.
    wanted = {one.exchange: {"exchange": one.exchange, "write": one.write, "read": one.read} for one in rights.topics}
    there = _call(api, "GET", f"topic-permissions/{at}/{user}", missing=True) or []
    if {one["exchange"] for one in there} - wanted.keys():
        _call(api, "DELETE", f"topic-permissions/{at}/{user}", missing=True)
    for topic in wanted.values():
        _apply_topic(api, at, user, topic, topology)
    _call(api, "PUT", f"permissions/{at}/{user}", _permissions(rights))


def _apply_topic(api: httpx.Client, at: str, user: str, topic: dict[str, str], topology: Topology) -> None:
    try:
        _call(api, "PUT", f"topic-permissions/{at}/{user}", topic)
    except _Refused as error:
        if error.status != httpx.codes.BAD_REQUEST:
            raise
        # RabbitMQ 4.3 wants the exchange to be there, and the topology is made after the accounts and their host.
        (exchange,) = (one for one in topology.all_exchanges if one.name == topic["exchange"])
        made = {"type": exchange.type, "durable": exchange.durable, "arguments": exchange.arguments or {}}
        _call(api, "PUT", f"exchanges/{at}/{quote(exchange.name, safe='')}", made)
        _call(api, "PUT", f"topic-permissions/{at}/{user}", topic)


def _overview(api: httpx.Client, place: str, wait: float) -> str:
    deadline = time.monotonic() + wait
    while True:
        try:
            answer = api.get("overview")
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                break
            trouble = str(answer.status_code)
        except httpx.TransportError as error:
            trouble = type(error).__name__
        if time.monotonic() >= deadline:
            raise Failed(f"no management API at {place} after {wait:g} s: {trouble}")
        time.sleep(_PAUSE)
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise Failed("RabbitMQ's management API refused the user or the password of MAILWARREN_BROKER_ADMIN_URL")
    try:
        return str(answer.json().get("rabbitmq_version", ""))
    except (ValueError, AttributeError) as error:
        raise Failed(f"{place} is not RabbitMQ's management API: it said {answer.status_code}") from error


def _call(api: httpx.Client, method: str, path: str, body: Any = None, *, missing: bool = False) -> Any:
    """A call's JSON; None for an empty answer, and with ``missing`` for a 404."""
    try:
        answer = api.request(method, path, json=body)
    except httpx.TransportError as error:
        raise Failed(f"the management API did not answer {method} {path}: {type(error).__name__}") from error
    if missing and answer.status_code == httpx.codes.NOT_FOUND:
        return None
    if answer.is_error:
        hint = "; the user needs the tag administrator" if answer.status_code == httpx.codes.UNAUTHORIZED else ""
        raise _Refused(f"the management API refused {method} {path}: {answer.status_code}{hint}", answer.status_code)
    return answer.json() if answer.content else None
