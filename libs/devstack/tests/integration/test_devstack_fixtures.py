"""The fixtures of the pytest plugin, and the ledger of skips, as other tests use them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from amqp.exceptions import NotFound
from kombu import Connection

from mailwarren.contracts.topology import Topology
from mailwarren.devstack.broker_names import delete_prefixed
from mailwarren.devstack.leftovers import Scratch, remove_leftovers
from mailwarren.devstack.state import LocalDir, ProcessRecord, State, write_json
from mailwarren.store.engine import dsn


@pytest.mark.broker
@pytest.mark.parametrize("with_management", [False, True])
def test_deleting_a_prefix_takes_its_names_and_no_others(
    rabbitmq: Any, amqp_prefix: str, *, with_management: bool
) -> None:
    management = rabbitmq.management_url if with_management else None
    mine, other = Topology(f"{amqp_prefix}a."), Topology(f"{amqp_prefix}b.")
    with Connection(rabbitmq.amqp_url) as connection:
        channel = connection.default_channel
        for topology in (mine, other):
            for exchange in topology.all_exchanges:
                exchange(channel).declare()
            topology.dead_queue(channel).declare()

        delete_prefixed(rabbitmq.amqp_url, mine.prefix, management)

        assert not _exists(connection, "queue", mine.dead_queue.name)
        assert not any(_exists(connection, "exchange", exchange.name) for exchange in mine.all_exchanges)
        assert _exists(connection, "queue", other.dead_queue.name)
        assert all(_exists(connection, "exchange", exchange.name) for exchange in other.all_exchanges)
    delete_prefixed(rabbitmq.amqp_url, other.prefix)


@pytest.mark.broker
def test_a_queue_outside_the_topology_is_deleted_where_the_broker_lists_its_queues(
    rabbitmq: Any, amqp_prefix: str
) -> None:
    name = f"{amqp_prefix}extra"
    with Connection(rabbitmq.amqp_url) as connection:
        connection.default_channel.queue_declare(name, durable=True, auto_delete=False)

        delete_prefixed(rabbitmq.amqp_url, amqp_prefix, rabbitmq.management_url)

        assert _exists(connection, "queue", name) == (rabbitmq.management_url is None)
        connection.default_channel.queue_delete(name)


def test_nothing_is_deleted_without_a_prefix() -> None:
    with pytest.raises(ValueError, match="without a prefix"):
        delete_prefixed("amqp://nowhere", "")


def _exists(connection: Connection, kind: str, name: str) -> bool:
    channel = connection.channel()
    try:
        if kind == "queue":
            channel.queue_declare(name, passive=True)
        else:
            channel.exchange_declare(name, "topic", passive=True)
    except NotFound:
        return False  # the broker closed the channel
    channel.close()
    return True


@pytest.mark.postgres
async def test_a_module_gets_an_empty_database_of_its_own(postgres: Any) -> None:
    assert urlsplit(postgres.database_url).path.startswith("/mailwarren_test_")
    connection = await asyncpg.connect(dsn(postgres.database_url))
    try:
        tables = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    finally:
        await connection.close()
    assert tables == 0


@pytest.mark.postgres
def test_an_own_postgres_is_running_and_durable(own_postgres: Any) -> None:
    assert own_postgres.durable
    own_postgres.kill()
    own_postgres.start()
    assert own_postgres.is_up()


def test_leftovers_of_a_killed_run_are_removed_and_those_of_a_living_one_kept(tmp_path: Path) -> None:
    local = LocalDir(tmp_path)
    living = Scratch(local)
    orphan = subprocess.Popen(["sleep", "600"])
    dead = tmp_path / "tests" / "1-1"
    dead.mkdir()
    gone = ProcessRecord(pid=orphan.pid, create_time=1.0, name="pytest")
    write_json(dead / "run.json", State(gone, (ProcessRecord.of(orphan.pid, "rabbitmq"),)))

    assert remove_leftovers(local) == [dead]

    assert orphan.poll() is not None
    assert not dead.exists()
    assert living.path.exists()
    living.remove()
    assert not living.path.exists()


@pytest.mark.postgres
def test_nothing_runs_on_after_pytest_was_killed(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").touch()  # makes the folder a clone of its own, with its own .local
    (tmp_path / "test_waits.py").write_text(
        "import time\n"
        "def test_waits(own_postgres):\n"
        "    open('pid', 'w').write(str(own_postgres.pid))\n"
        "    time.sleep(600)\n"
    )
    argv = [sys.executable, "-m", "pytest", "-p", "mailwarren.devstack.pytest_plugin", "-c", "/dev/null"]
    run = subprocess.Popen([*argv, "--rootdir", ".", "-p", "no:cacheprovider"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    pid_file = tmp_path / "pid"
    deadline = time.monotonic() + 30
    while not (pid_file.exists() and pid_file.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    server = ProcessRecord.of(int(pid_file.read_text()))

    os.kill(run.pid, signal.SIGKILL)
    run.wait()

    while server.find():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(remove_leftovers(LocalDir(tmp_path / ".local"))) == 1
