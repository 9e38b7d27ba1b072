"""The one address of a cluster of brokers: it leads to the first that is there."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mailwarren.devstack.ports import free_ports
from mailwarren.devstack.rabbitmq_cluster import Front


@contextmanager
def echo(port: int) -> Iterator[None]:
    """Says its port, then all that it hears."""
    listener = socket.create_server(("127.0.0.1", port))

    def serve() -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            link.sendall(b"%d:" % port)
            while octets := link.recv(1024):
                link.sendall(octets)
            link.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


@pytest.fixture
def ports() -> list[int]:
    return free_ports(2)


@pytest.fixture
def front(ports) -> Iterator[Front]:
    made = Front(ports)
    made.open()
    yield made
    made.close()


def ask(front: Front) -> bytes:
    """What comes back for ``hello``, to the end."""
    with socket.create_connection(("127.0.0.1", front.port), timeout=5) as link:
        link.sendall(b"hello")
        link.shutdown(socket.SHUT_WR)
        heard = b""
        while octets := link.recv(1024):
            heard += octets
        return heard


def test_all_go_to_the_first_and_to_the_next_when_it_is_gone(front, ports):
    first, second = ports
    with echo(second):
        with echo(first):
            assert {ask(front) for _ in range(3)} == {b"%d:hello" % first}
        assert ask(front) == b"%d:hello" % second
        with echo(first):
            assert ask(front) == b"%d:hello" % first
    assert front.served == {first: 4, second: 1}


def test_with_nobody_there_the_connection_ends(front):
    with socket.create_connection(("127.0.0.1", front.port), timeout=5) as link:
        assert link.recv(1) == b""
