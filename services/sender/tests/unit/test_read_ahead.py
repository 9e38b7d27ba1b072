"""py-amqp reads many frames by one call, and loses none that the network split."""

import socket
import struct
from types import SimpleNamespace

import pytest
from amqp.transport import TCPTransport

from mailwarren.sender.engine.consumer import read_ahead


def frame(number: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", 1, number, len(payload)) + payload + b"\xce"


class Counted:
    """A socket that counts."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.calls = sock, 0

    def recv(self, size: int) -> bytes:
        self.calls += 1
        return self.sock.recv(size)


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    yield ours, theirs
    ours.close()
    theirs.close()


def test_frames_that_are_there_are_read_by_one_call(ends):
    ours, theirs = ends
    transport = TCPTransport("localhost")
    transport.sock = ours
    transport._setup_transport()
    transport.sock = counted = Counted(ours)
    read_ahead(SimpleNamespace(connection=SimpleNamespace(transport=transport)))
    payloads = [b"a" * 5, b"", b"c" * 3000]
    whole = b"".join(frame(n, payload) for n, payload in enumerate(payloads))
    theirs.sendall(whole + frame(3, b"late")[:4])
    assert [bytes(transport.read_frame()[2]) for _ in payloads] == payloads
    assert counted.calls == 1
    with pytest.raises(TimeoutError):
        transport.read_frame()
    theirs.sendall(frame(3, b"late")[4:])
    assert transport.read_frame() == (1, 3, b"late")
    transport.sock = None


def test_another_transport_is_left_alone():
    other = SimpleNamespace(_quick_recv=None)
    read_ahead(SimpleNamespace(connection=SimpleNamespace(transport=other)))
    assert other._quick_recv is None
