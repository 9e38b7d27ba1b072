"""Passwords of the services are changed while mail flows, in both ways that docs/operations/secrets.md names."""

import asyncio
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import amqp
import asyncpg
import httpx
import pytest

from mailwarren.contracts.access import OPTIONAL, Service
from mailwarren.contracts.topology import Topology
from mailwarren.devstack.harness.load import Load
from mailwarren.devstack.harness.system import System, wait_for
from mailwarren.ingest.commands.access import (
    Accounts,
    apply_broker_access,
    apply_database_access,
    role_name,
    user_name,
)
from mailwarren.store.access import ROLES

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TOPOLOGY = Topology("", 0.01)


class Place:
    """A system in a virtual host and a database of its own, and its accounts as they change."""

    def __init__(self, system: System, admin_url: str, vhost: str) -> None:
        self.system = system
        self.admin_url = admin_url
        self.vhost = vhost
        self.accounts = fresh_accounts(vhost)
        self.generation = 0

    def apply(self, accounts: Accounts) -> None:
        """What ``mailwarren access apply`` does."""
        apply_broker_access(self.admin_url, accounts, TOPOLOGY, self.vhost, 10)
        asyncio.run(apply_database_access(self.system.database_url, accounts, 10))
        self.accounts = accounts

    def start(self) -> list[str]:
        """The services with the accounts as they are now; returns their names once all are ready."""
        for service in Service:
            self.system.own_env[service.value] = {"MAILWARREN_AMQP_URL": amqp_url(self, self.accounts, service)}
        for service in ROLES:
            self.system.own_env[service.value]["MAILWARREN_DATABASE_URL"] = database_url(self, self.accounts, service)
        self.generation += 1
        names = [f"{kind}{self.generation}" for kind in ("tracker", "sender", "ingest")]
        self.system.start_tracker(names[0], wait=False)
        self.system.start_sender(names[1], wait=False)
        self.system.start_ingest(name=names[2])
        self.system.wait_ready(names=names)
        return names

    def management(self) -> httpx.Client:
        """RabbitMQ's management API as its administrator."""
        parts = urlsplit(self.admin_url)
        login = (parts.username or "", parts.password or "")
        return httpx.Client(base_url=f"http://{parts.hostname}:{parts.port}/api/", auth=login, timeout=30)

    def forget(self, accounts: Accounts) -> None:
        """The users and the roles, which own nothing."""
        with self.management() as api:
            for service in accounts.services:
                api.delete(f"users/{user_name(service, accounts.name)}").raise_for_status()
        for service in ROLES:
            role = role_name(service, accounts.name)
            self.system.query(f"DROP OWNED BY {role}")
            self.system.query(f"DROP ROLE {role}")


def fresh_accounts(name: str) -> Accounts:
    return Accounts({one: secrets.token_hex(16) for one in Service if one not in OPTIONAL}, name)


def amqp_url(place: Place, accounts: Accounts, service: Service) -> str:
    login = f"{user_name(service, accounts.name)}:{accounts.passwords.get(service, '')}"
    return _as(place.system.amqp_url, login)


def database_url(place: Place, accounts: Accounts, service: Service) -> str:
    return _as(place.system.database_url, f"{role_name(service, accounts.name)}:{accounts.passwords[service]}")


def _as(url: str, login: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}").geturl()


@pytest.fixture
def place(tmp_path: Any, rabbitmq: Any, postgres: Any) -> Iterator[Place]:
    if rabbitmq.management_url is None:
        pytest.skip("the given RabbitMQ has no MAILWARREN_MANAGEMENT_URL")
    vhost = f"mwr{secrets.token_hex(4)}"
    url = urlsplit(rabbitmq.amqp_url)._replace(path=f"/{vhost}").geturl()
    system = System(tmp_path, amqp_url=url, database_url=postgres.database_url)
    made = Place(system, rabbitmq.management_url, vhost)
    try:
        apply_broker_access(made.admin_url, made.accounts, TOPOLOGY, vhost, 10)
        system.prepare()
        made.apply(made.accounts)
        yield made
    finally:
        system.close()
        with made.management() as api:
            api.delete(f"vhosts/{quote(vhost, safe='')}")
        made.forget(made.accounts)


def test_no_accepted_mail_is_lost_while_passwords_and_accounts_change(place: Place) -> None:
    system = place.system
    system.start_sink()
    old = place.start()
    with Load(system, every=0.2, recipients=20) as load:
        wait_for(lambda: _delivered(system) >= 100, 30, "the first mails")

        # One account, a new password: services keep the connections they have, and get no new ones.
        before = place.accounts
        place.apply(fresh_accounts(before.name))
        _expect_refusal(place, before)
        seen = _delivered(system)
        wait_for(lambda: _delivered(system) >= seen + 40, 20, "mail on the old connections", load.check)
        # The worst that can come now: the database ends the sessions, and lets nobody in with the old password.
        roles = [role_name(service, before.name) for service in ROLES]
        system.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ANY($1)", roles)
        accepted = load.accepted
        wait_for(lambda: load.accepted >= accepted + 40, 20, "mail accepted all the same", load.check)
        old = _replace(system, old, place.start())

        # Another account beside the old one: nothing is refused to anybody at any time.
        before = place.accounts
        place.apply(fresh_accounts(f"{place.vhost}b"))
        old = _replace(system, old, place.start())
        place.forget(before)
        _expect_refusal(place, before)
        seen = _delivered(system)
        wait_for(lambda: _delivered(system) >= seen + 40, 20, "mail on the new account", load.check)
    assert load.refused == 0
    found = system.settle(load.promises, timeout=60)
    assert found.balanced, str(found)
    assert not found.doubled
    assert system.left_in_broker() == {}


def _replace(system: System, old: list[str], new: list[str]) -> list[str]:
    """End the old ones in order, as a rolling update does."""
    for name in reversed(old):
        system.services[name].stop()
    return new


def _delivered(system: System) -> int:
    return int(system.sink.stats()["accepted"]) if system.sink else 0


def _expect_refusal(place: Place, accounts: Accounts) -> None:
    """Nobody gets in with these any more."""
    for service in accounts.services:
        parts = urlsplit(amqp_url(place, accounts, service))
        with (
            pytest.raises(amqp.AccessRefused),
            amqp.Connection(
                host=f"{parts.hostname}:{parts.port}",
                userid=parts.username,
                password=parts.password,
                virtual_host=place.vhost,
            ),
        ):
            pass
    for service in ROLES:
        url = database_url(place, accounts, service).replace("+asyncpg", "")
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
            asyncio.run(asyncpg.connect(url))
