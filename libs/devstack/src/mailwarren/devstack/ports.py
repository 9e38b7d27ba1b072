"""Free loopback ports that no server has as its default."""

import random
import socket
from pathlib import Path

_FIRST, _LAST = 20_000, 31_999
"""Below Linux' ephemeral range (32768 on): an outgoing connection never takes the port of a server that is down for
a moment, and a client that keeps trying a dead port can never connect to itself."""
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
DEFAULT_PORTS = frozenset({
    20_000, 24_007, 24_224, 25_565, 25_575, 25_672, 26_257, 26_379, 27_015, 27_017, 27_018, 27_019, 28_015, 28_017,
    29_015, 31_337,
})  # fmt: skip
"""Ports in that range that well-known servers use."""


def free_ports(count: int) -> list[int]:
    """``count`` different ports of 127.0.0.1 on which nothing listens.

    They are free when this returns; whoever binds them should do so at once.

    Raises:
        OSError: there are not so many.
    """
    candidates = [port for port in _candidates() if port not in DEFAULT_PORTS]
    random.shuffle(candidates)
    found: list[int] = []
    for port in candidates:
        if len(found) == count:
            break
        if is_free(port):
            found.append(port)
    if len(found) < count:
        raise OSError(f"fewer than {count} free loopback ports between {_FIRST} and {_LAST}")
    return found


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` of 127.0.0.1, and on no other address somebody does."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Servers set SO_REUSEADDR as well: without it a port would seem taken for a minute after its last connection.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - bound for a moment and never listening
        except OSError:
            return False
    return True


def is_open(port: int, timeout: float = 0.5) -> bool:
    """Whether something accepts connections on ``port`` of 127.0.0.1."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout):
            return True
    except OSError:
        return False


def _candidates() -> range:
    """The usual range, or what a machine with an unusual ephemeral range leaves of it."""
    if _EPHEMERAL.exists():
        low, high = map(int, _EPHEMERAL.read_text().split())
        if low <= _LAST and high >= _FIRST:
            below = range(10_240, min(low, _LAST))
            return below if len(below) > 1_000 else range(_FIRST, _LAST + 1)  # noqa: PLR2004 - enough to choose from
    return range(_FIRST, _LAST + 1)
