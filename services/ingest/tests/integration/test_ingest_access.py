"""``mailwarren access`` against real servers: what is made, what is changed, what is refused."""

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit

import asyncpg
import httpx
import pytest
from kombu import Connection

from mailwarren.contracts.access import Service
from mailwarren.contracts.topology import Topology
from mailwarren.ingest.commands import Failed
from mailwarren.ingest.commands.access import (
    Accounts,
    apply_broker_access,
    apply_database_access,
    role_name,
    user_name,
    vhost_of,
)
from mailwarren.store import migrate
from mailwarren.store.engine import dsn

pytestmark = [pytest.mark.broker, pytest.mark.postgres]

PASSWORDS = {service: secrets.token_hex(16) for service in Service}
TOPOLOGY = Topology("ac-1.")


@pytest.fixture
def accounts():
    return Accounts(PASSWORDS, f"mwt{secrets.token_hex(4)}")


@pytest.fixture
def admin_url(rabbitmq):
    if rabbitmq.management_url is None:
        pytest.skip("the given RabbitMQ has no MAILWARREN_MANAGEMENT_URL")
    return rabbitmq.management_url


@pytest.fixture
def vhost(accounts, admin_url):
    """A virtual host that nobody has made, with a name that needs encoding."""
    name = f"t/{accounts.name} é"
    yield name
    with management(admin_url) as api:
        api.delete(f"vhosts/{quote(name, safe='')}")
        for service in Service:
            api.delete(f"users/{user_name(service, accounts.name)}")


@pytest.fixture
async def owner(accounts, postgres):
    """A connection as the owner; the roles are dropped afterwards."""
    connection = await asyncpg.connect(dsn(postgres.database_url))
    yield connection
    for service in (Service.INGEST, Service.TRACKER):
        role = role_name(service, accounts.name)
        if await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
            await connection.execute(f"DROP OWNED BY {role}")
            await connection.execute(f"DROP ROLE {role}")
    await connection.close()


def management(url):
    parts = urlsplit(url)
    return httpx.Client(
        base_url=f"http://{parts.hostname}:{parts.port}/api/", auth=(parts.username, parts.password), timeout=10
    )


def as_role(url, accounts, service):
    parts = urlsplit(dsn(url))
    account = f"{role_name(service, accounts.name)}:{PASSWORDS[service]}"
    return f"postgresql://{account}@{parts.hostname}:{parts.port}{parts.path}"


def test_users_are_made_with_their_permissions_and_once_more_changes_nothing(admin_url, accounts, vhost):
    said = [apply_broker_access(admin_url, accounts, TOPOLOGY, vhost, 5) for _ in range(2)]
    assert not any(password in text for password in PASSWORDS.values() for text in said)
    with management(admin_url) as api:
        users = [user_name(service, accounts.name) for service in Service]
        held = {one["user"]: one for user in users for one in api.get(f"users/{user}/permissions").json()}
        assert set(held) == set(users)
        assert {one["vhost"] for one in held.values()} == {vhost}
        assert held[users[2]]["configure"] == "^$"
        assert r"ac\-1\.tracker" in held[users[2]]["read"]
        assert all(not api.get(f"users/{user}").json()["tags"] for user in users)
        (topic,) = api.get(f"users/{users[1]}/topic-permissions").json()
        assert (topic["exchange"], topic["write"]) == ("ac-1.mail.control.log", "^(?:marker|shaping|warmup)$")


def test_the_topology_is_declared_after_the_accounts_on_the_same_virtual_host(admin_url, rabbitmq, accounts, vhost):
    """RabbitMQ 4.3 takes no topic permission for an exchange that is missing, so one may be there already."""
    apply_broker_access(admin_url, accounts, TOPOLOGY, vhost, 5)
    url = urlsplit(rabbitmq.amqp_url)._replace(path=f"/{quote(vhost, safe='')}").geturl()
    with Connection(url) as connection:
        for exchange in TOPOLOGY.all_exchanges:
            exchange(connection.default_channel).declare()
    assert "users mwt" in apply_broker_access(admin_url, accounts, TOPOLOGY, vhost, 5)


def test_ingest_may_read_the_management_api_only_when_it_is_told_to(admin_url, accounts, vhost):
    user = user_name(Service.INGEST, accounts.name)
    for monitoring in (True, False):
        changed = Accounts(PASSWORDS, accounts.name, monitoring)
        apply_broker_access(admin_url, changed, TOPOLOGY, vhost, 5)
        parts = urlsplit(admin_url)
        url = f"http://{parts.hostname}:{parts.port}/api/nodes"
        answer = httpx.get(url, auth=(user, PASSWORDS[Service.INGEST]))
        assert answer.is_success is monitoring


def test_a_wrong_administrator_and_a_broker_that_is_away_are_named_without_the_password(admin_url, accounts, vhost):
    parts = urlsplit(admin_url)
    with pytest.raises(Failed, match="refused the user or the password"):
        apply_broker_access(f"http://who:s3cret@{parts.hostname}:{parts.port}", accounts, TOPOLOGY, vhost, 5)
    with pytest.raises(Failed, match=r"no management API at http://127.0.0.1:1 after 0 s: ConnectError"):
        apply_broker_access("http://who:s3cret@127.0.0.1:1", accounts, TOPOLOGY, vhost, 0)
    with pytest.raises(Failed, match="looks like http://user:password@host:15672"):
        apply_broker_access("127.0.0.1:15672", accounts, TOPOLOGY, vhost, 0)


async def test_roles_are_made_before_the_migrations_and_granted_after_them(postgres, accounts, owner):
    url = postgres.database_url
    assert "repeat this after mailwarren migrate" in await apply_database_access(url, accounts, 5)
    await migrate.upgrade(url)
    assert "grants changed" in await apply_database_access(url, accounts, 5)
    assert "grants as they should be" in await apply_database_access(url, accounts, 5)
    # What somebody gave by hand is taken again.
    await owner.execute(f"GRANT SELECT ON api_keys TO {role_name(Service.TRACKER, accounts.name)}")
    assert "1 grants changed" in await apply_database_access(url, accounts, 5)
    connection = await asyncpg.connect(as_role(url, accounts, Service.TRACKER))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.fetch("SELECT hash FROM api_keys")
    await connection.close()


async def test_a_new_password_replaces_the_old_one(postgres, accounts, owner):
    url = postgres.database_url
    await apply_database_access(url, accounts, 5)
    changed = Accounts({service: secrets.token_hex(8) for service in Service}, accounts.name)
    await apply_database_access(url, changed, 5)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(as_role(url, accounts, Service.INGEST))
    # The password itself was never sent: the server kept a verifier.


async def test_an_owner_who_may_not_make_roles_only_grants(postgres, accounts, owner):
    """As with CloudNativePG, where the operator makes the roles and the owner is an ordinary role."""
    url, parts = postgres.database_url, urlsplit(dsn(postgres.database_url))
    name, password = f"{accounts.name}_owner", secrets.token_hex(8)
    await owner.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    database = parts.path[1:]
    me = await owner.fetchval("SELECT current_user")
    try:
        await owner.execute("DROP SCHEMA public CASCADE")
        await owner.execute(f"ALTER DATABASE {database} OWNER TO {name}")
        await owner.execute(f"CREATE SCHEMA public AUTHORIZATION {name}")
        theirs = f"postgresql://{name}:{password}@{parts.hostname}:{parts.port}{parts.path}"
        await migrate.upgrade(theirs)
        with pytest.raises(Failed, match=r"roles .* are missing and .* may not make roles: make them with LOGIN"):
            await apply_database_access(theirs, accounts, 5)
        for service in (Service.INGEST, Service.TRACKER):
            role = role_name(service, accounts.name)
            await owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORDS[service]}'")
        said = await apply_database_access(theirs, accounts, 5)
        assert "with the password that somebody else gave" in said
        connection = await asyncpg.connect(as_role(url, accounts, Service.TRACKER))
        assert await connection.fetchval("SELECT make_events_partition(current_date)")
        with pytest.raises(asyncpg.RaiseError, match="not old enough"):
            await connection.fetchval("SELECT drop_events_partition(current_date - 1)")
        for forbidden in ("DROP TABLE events", "CREATE TABLE x (y int)", "CREATE TEMP TABLE x (y int)"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(forbidden)
        await connection.close()
    finally:
        await owner.execute(f"ALTER DATABASE {database} OWNER TO {me}")
        await owner.execute(f"REASSIGN OWNED BY {name} TO {me}")
        await owner.execute(f"DROP OWNED BY {name}")
        await owner.execute(f"DROP ROLE {name}")


async def test_a_role_that_may_do_more_is_refused(postgres, accounts, owner):
    await owner.execute(f"CREATE ROLE {role_name(Service.INGEST, accounts.name)} LOGIN CREATEDB")
    with pytest.raises(Failed, match="may do more than a service should"):
        await apply_database_access(postgres.database_url, accounts, 5)


@pytest.mark.parametrize("password", ["", "short", "with a space", "quote'quote", "a" * 129])
def test_a_password_that_does_not_fit_into_an_url_is_refused_without_being_shown(password):
    with pytest.raises(Failed, match="MAILWARREN_SENDER_PASSWORD has to be") as failed:
        Accounts(PASSWORDS | {Service.SENDER: password})
    assert not password or password not in str(failed.value)
    assert all(password not in repr(Accounts(PASSWORDS)) for password in PASSWORDS.values())


@pytest.mark.parametrize(
    ("url", "vhost"),
    [
        ("amqp://h", "/"),
        ("amqp://h/", "/"),
        ("amqp://h/mailwarren", "mailwarren"),
        ("amqps://h/a%2Fb?heartbeat=5", "a/b"),
    ],
)
def test_the_virtual_host_of_an_url(url, vhost):
    assert vhost_of(url) == vhost


def test_the_command_applies_both_and_shows_them(rabbitmq, admin_url, postgres, accounts, vhost, owner):
    parts = urlsplit(rabbitmq.amqp_url)
    env = {
        **os.environ,
        **{f"MAILWARREN_{service.upper()}_PASSWORD": PASSWORDS[service] for service in Service},
        "MAILWARREN_ACCOUNTS": accounts.name,
        "MAILWARREN_AMQP_URL": parts._replace(
            path=f"/{httpx.QueryParams({'v': vhost})}".replace("v=", "").replace("+", "%20")
        ).geturl(),
        "MAILWARREN_DATABASE_URL": postgres.database_url,
        "MAILWARREN_BROKER_ADMIN_URL": admin_url,
    }
    command = [str(Path(sys.executable).parent / "mailwarren"), "access"]
    done = subprocess.run([*command, "apply"], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["RabbitMQ", "Postgres"]
    assert not any(password in done.stdout + done.stderr for password in PASSWORDS.values())
    shown = subprocess.run([*command, "show"], env=env, capture_output=True, text=True, timeout=60, check=True)
    lines = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [line.get("rabbitmq") or line.get("postgres") for line in lines] == [
        *(user_name(service, accounts.name) for service in Service),
        *(role_name(service, accounts.name) for service in (Service.INGEST, Service.TRACKER)),
    ]
