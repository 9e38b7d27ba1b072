import socket

import pytest

from mailwarren.devstack import ports


def test_ports_are_different_free_and_nobodys_default() -> None:
    found = ports.free_ports(200)

    assert len(set(found)) == 200
    assert not ports.DEFAULT_PORTS & set(found)
    with socket.socket() as server:
        server.bind(("127.0.0.1", found[0]))


def test_ports_lie_outside_the_range_of_outgoing_connections() -> None:
    low = int(ports._EPHEMERAL.read_text().split()[0])

    assert max(ports.free_ports(50)) < low


def test_a_port_in_use_is_not_free() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]

        assert not ports.is_free(port)
        assert ports.is_open(port)
    assert ports.is_free(port)
    assert not ports.is_open(port)


def test_asking_for_more_than_there_are_says_so() -> None:
    with pytest.raises(OSError, match="fewer than 40000"):
        ports.free_ports(40_000)
