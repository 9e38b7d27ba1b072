"""Connections that are forwarded, and reset."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from mailwarren.chaos.cutter import Cutter


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that sends back what it gets."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve(client: socket.socket) -> None:
        try:
            while data := client.recv(4096):
                client.sendall(data)
        except OSError:
            pass
        finally:
            client.close()

    def accept() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def ask(cutter: Cutter) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", cutter.port), timeout=5)
    client.sendall(b"hello")
    assert client.recv(5) == b"hello"
    return client


def test_what_is_cut_is_reset_and_new_connections_are_forwarded(echo: int) -> None:
    with Cutter("127.0.0.1", echo) as cutter:
        clients = [ask(cutter) for _ in range(3)]
        assert cutter.open == 3
        assert cutter.cut() == 3
        for client in clients:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            client.close()
        ask(cutter).close()


def test_an_end_of_one_side_is_the_end_of_both(echo: int) -> None:
    with Cutter("127.0.0.1", echo) as cutter:
        ask(cutter).close()
        end = time.monotonic() + 5
        while cutter.open and time.monotonic() < end:
            time.sleep(0.01)
        assert cutter.open == 0


def test_a_server_that_is_away_is_a_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    # It may come as early as with the connection.
    with (
        Cutter("127.0.0.1", port) as cutter,
        pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", cutter.port), timeout=5) as client,
    ):
        client.recv(1)
