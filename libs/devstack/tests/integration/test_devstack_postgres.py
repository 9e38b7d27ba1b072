"""A private Postgres starts, stops, dies and comes back with what it had committed."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from mailwarren.devstack import postgres_files
from mailwarren.devstack.databases import create_database, drop_database, run_apart, with_database
from mailwarren.devstack.leftovers import Scratch
from mailwarren.devstack.ports import is_free
from mailwarren.devstack.postgres import Postgres
from mailwarren.store.engine import dsn

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def server(devstack_scratch: Scratch) -> Iterator[Postgres]:
    made = Postgres(devstack_scratch.home("a server"))
    made.start()
    for pid in made.pids:
        devstack_scratch.record(pid, "server")
    yield made
    made.remove()
    assert not made.home.exists()


async def _ask(url: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn(url))
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_it_is_durable_unless_told_otherwise(server: Postgres) -> None:
    assert await _ask(server.database_url, "SHOW fsync") == "on"
    assert await _ask(server.database_url, "SHOW synchronous_commit") == "on"
    assert await _ask(server.database_url, "SHOW max_connections") == "100"
    assert await _ask(server.database_url, "SELECT current_database()") == "mailwarren"


async def test_it_listens_on_loopback_only_and_wants_the_password(server: Postgres) -> None:
    assert server.pid is not None
    listening = [c.laddr for c in psutil.Process(server.pid).net_connections("tcp") if c.status == "LISTEN"]
    assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", server.account.port)]

    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(dsn(server.database_url).replace(server.account.password, "wrong"))


def test_it_never_runs_as_root(server: Postgres) -> None:
    assert server.pid is not None
    assert psutil.Process(server.pid).uids().effective != 0
    assert stat.S_IMODE((server.home / "account.json").stat().st_mode) == 0o600


async def test_what_was_committed_survives_a_restart_and_a_crash_on_the_same_port(server: Postgres) -> None:
    before = server.database_url
    await _ask(before, "CREATE TABLE kept AS SELECT 1 AS n")

    server.restart()
    await _ask(before, "INSERT INTO kept VALUES (2)")
    server.kill()
    assert not server.is_up()
    server.start()

    assert server.database_url == before
    assert await _ask(before, "SELECT sum(n) FROM kept") == 3


def test_stopping_frees_the_port_and_data_is_used_again_by_the_next_one(server: Postgres) -> None:
    server.stop()
    assert is_free(server.account.port)
    assert not server.is_up()

    again = Postgres(server.home)
    again.start()
    assert again.database_url == server.database_url
    assert run_apart(_ask(again.database_url, "SELECT count(*) FROM kept")) == 2
    again.stop()


def test_a_database_is_made_once_and_dropped_even_while_in_use(server: Postgres) -> None:
    server.start()
    url = with_database(server.database_url, "made")
    create_database(server.database_url, "made")
    create_database(server.database_url, "made")

    async def drop_under_a_client() -> None:
        connection = await asyncpg.connect(dsn(url))
        drop_database(server.database_url, "made")
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await connection.fetchval("SELECT 1")
        connection.terminate()

    run_apart(drop_under_a_client())
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        run_apart(_ask(url, "SELECT 1"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has folders that nobody can enter")
def test_where_nobody_cannot_go_the_server_lives_elsewhere_and_leaves_nothing(devstack_scratch: Scratch) -> None:
    closed = devstack_scratch.home("closed")
    closed.mkdir(mode=0o700)
    server = Postgres(closed / "server")
    server.start()
    elsewhere = Path((server.home / "elsewhere").read_text())
    try:
        assert server.is_up()
        assert elsewhere.parent == postgres_files._ELSEWHERE
        assert stat.S_IMODE((elsewhere / "data").stat().st_mode) == 0o700
    finally:
        server.remove()
    assert not elsewhere.exists()
    assert not server.home.exists()
