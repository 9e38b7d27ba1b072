"""A private RabbitMQ starts, stops, dies and comes back with what it had confirmed."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from kombu import Connection

from mailwarren.devstack.leftovers import Scratch
from mailwarren.devstack.ports import is_free
from mailwarren.devstack.rabbitmq import RabbitMQ
from mailwarren.devstack.state import ProcessRecord

pytestmark = pytest.mark.broker
QUORUM = {"x-queue-type": "quorum"}


@pytest.fixture(scope="module")
def node(devstack_scratch: Scratch) -> Iterator[RabbitMQ]:
    """In a folder with a space: RabbitMQ's own scripts would break on it."""
    server = RabbitMQ(devstack_scratch.home("a node"))
    server.start()
    for pid in server.pids:
        devstack_scratch.record(pid, "node")
    yield server
    server.remove()


def _publish(url: str, queue: str, count: int, *, declare: bool = True) -> None:
    with Connection(url, transport_options={"confirm_publish": True}) as connection:
        channel = connection.default_channel
        if declare:
            channel.queue_declare(queue, durable=True, auto_delete=False, arguments=QUORUM)
        producer = connection.Producer()
        for number in range(count):
            producer.publish(str(number), routing_key=queue, delivery_mode=2)


def _ra(node: RabbitMQ, function: str, queue: str) -> None:
    """Stops or starts the leader of a quorum queue, asked by a second Erlang node with the same cookie."""
    server = f"{{mailwarren_{queue}, mailwarren@localhost}}"
    script = f"ok = rpc:call(mailwarren@localhost, ra, {function}, [quorum_queues, {server}]), halt()."
    argv = ["erl", "-noinput", "-sname", "probe@localhost", "-eval", script]
    environ = os.environ | (node.specs()[1].env or {})
    subprocess.run(argv, env=environ, check=True, capture_output=True, timeout=30)


def _drain(url: str, queue: str) -> list[str]:
    found = []
    with Connection(url) as connection:
        channel = connection.default_channel
        while message := channel.basic_get(queue, no_ack=True):
            found.append(message.body)
    return found


def test_it_listens_on_loopback_only_and_on_no_default_port(node: RabbitMQ) -> None:
    listening = [
        connection.laddr
        for pid in node.pids
        for connection in psutil.Process(pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]

    assert {address.ip for address in listening} <= {"127.0.0.1", "::1"}
    assert {address.port for address in listening} == set(node.broker.ports)
    assert not {4369, 5672, 15672, 15692, 25672} & set(node.broker.ports)


def test_its_management_answers_and_its_virtual_host_is_there(node: RabbitMQ) -> None:
    hosts = httpx.get(f"{node.management_url}/api/vhosts").raise_for_status().json()

    assert [host["name"] for host in hosts] == ["mailwarren"]
    assert httpx.get(f"http://127.0.0.1:{node.broker.management}/api/vhosts").status_code == 401


def test_it_knows_how_much_disk_is_free_although_its_folder_has_a_space(node: RabbitMQ) -> None:
    assert " " in str(node.home)
    found: dict[str, Any] = {}
    deadline = time.monotonic() + 15
    while "disk_free" not in found:  # measured every few seconds
        assert time.monotonic() < deadline
        (found,) = httpx.get(f"{node.management_url}/api/nodes").raise_for_status().json()

    assert found["disk_free"] > found["disk_free_limit"] > 0
    assert not found["disk_free_alarm"]
    assert (node.home / "mnesia" / found["name"]).is_dir()


def test_a_stream_is_read_from_its_start_without_a_plugin(node: RabbitMQ) -> None:
    with Connection(node.amqp_url) as connection:
        channel = connection.default_channel
        channel.queue_declare("log", durable=True, auto_delete=False, arguments={"x-queue-type": "stream"})
        producer = connection.Producer()
        for word in ("first", "second"):
            producer.publish(word, routing_key="log")
        found: list[str] = []
        channel.basic_qos(0, 10, False)

        def take(message: Any) -> None:
            found.append(message.body)
            channel.basic_ack(message.delivery_tag)

        channel.basic_consume("log", callback=take, arguments={"x-stream-offset": "first"})
        while len(found) < 2:
            connection.drain_events(timeout=10)

    assert found == ["first", "second"]


def test_stopping_leaves_nothing_and_starting_brings_everything_back_on_the_same_ports(node: RabbitMQ) -> None:
    before = node.amqp_url
    _publish(before, "orderly", 20)
    processes = [record for pid in node.pids for record in _family(pid)]
    assert len(processes) >= 3  # the port mapper, the node, and its helpers

    node.stop()
    assert [record.name for record in processes if record.find()] == []
    assert all(is_free(port) for port in node.broker.ports)

    node.start()
    assert node.amqp_url == before
    assert _drain(before, "orderly") == [str(number) for number in range(20)]


def test_what_was_confirmed_survives_a_kill(node: RabbitMQ) -> None:
    _publish(node.amqp_url, "killed", 20)
    time.sleep(1.5)  # RabbitMQ 3.10 never elects a leader for a quorum queue declared in the last second before a kill
    (pid,) = [pid for pid in node.pids if pid == node.pid]
    record = ProcessRecord.of(pid)

    node.kill()
    assert record.find() is None
    assert not node.is_up()
    node.start()

    assert _drain(node.amqp_url, "killed") == [str(number) for number in range(20)]


def test_dead_letters_for_a_queue_without_a_leader_are_sent_again_soon(node: RabbitMQ) -> None:
    """As right after a crash, when a rung's leader is there before its target's: by default it takes 180 s."""
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "target"}
    safe = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish", "x-message-ttl": 1000}
    with Connection(node.amqp_url) as connection:
        channel = connection.default_channel
        for name, arguments in {"target": {}, "rung": dead | safe}.items():
            channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments | QUORUM)
    _publish(node.amqp_url, "rung", 5, declare=False)
    _ra(node, "stop_server", "target")
    time.sleep(2)
    begin = time.monotonic()
    _ra(node, "restart_server", "target")
    found: list[str] = []
    while len(found) < 5 and time.monotonic() - begin < 40:
        time.sleep(0.2)
        found += _drain(node.amqp_url, "target")
    assert sorted(found) == [str(number) for number in range(5)]


def test_secrets_are_readable_by_their_owner_only(node: RabbitMQ) -> None:
    for name in ("broker.json", "rabbitmq.conf", "home/.erlang.cookie"):
        assert (node.home / name).stat().st_mode & 0o077 == 0, name


def test_two_nodes_do_not_meet(node: RabbitMQ, devstack_scratch: Scratch, tmp_path: Path) -> None:
    other = RabbitMQ(devstack_scratch.home("other"))
    other.prepare()
    node.prepare()

    assert not set(other.broker.ports) & set(node.broker.ports)
    assert other.broker.password != node.broker.password


def _family(pid: int) -> list[ProcessRecord]:
    process = psutil.Process(pid)
    members = [process, *process.children(recursive=True)]
    return [ProcessRecord.of(member.pid, member.name()) for member in members]
