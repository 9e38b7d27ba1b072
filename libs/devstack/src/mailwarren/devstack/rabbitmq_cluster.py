"""A RabbitMQ of several nodes on this machine, and the one address behind which they stand.

The nodes are private ones (:mod:`.rabbitmq`) that share a cookie, a port mapper and a user, and find each other by
their configuration. :class:`Front` is to them what a Service is in a cluster: clients know its address only.
"""

import contextlib
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import msgspec

from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.ports import free_ports
from mailwarren.devstack.process import ProcessSpec
from mailwarren.devstack.rabbitmq import VHOST, Broker, RabbitMQ
from mailwarren.devstack.state import write_private

_CLUSTER_CONF = """\
cluster_formation.peer_discovery_backend = classic_config
{nodes}
cluster_partition_handling = pause_minority
"""


class Shared(msgspec.Struct, frozen=True):
    """What the nodes of a cluster have in common."""

    names: tuple[str, ...]
    cookie: str
    user: str
    password: str
    epmd: int


class ClusterNode(RabbitMQ):
    """One of several nodes. The first one starts the port mapper, which outlives its kill."""

    def __init__(self, home: Path, shared: Shared, number: int) -> None:
        super().__init__(home)
        self._shared = shared
        self._number = number

    @property
    def node_name(self) -> str:
        """As Erlang knows it."""
        return self._shared.names[self._number]

    def prepare(self) -> None:
        """Writes the node's files."""
        if self._broker is None:
            amqp, management, prometheus, distribution = free_ports(4)
            shared = self._shared
            self._broker = Broker(shared.user, shared.password, amqp, management, prometheus, distribution, shared.epmd)
        cookie = self.home / "home" / ".erlang.cookie"
        if not cookie.exists():
            cookie.parent.mkdir(mode=0o700, parents=True)
            write_private(cookie, self._shared.cookie.encode())
            cookie.chmod(0o400)
        super().prepare()
        nodes = "\n".join(
            f"cluster_formation.classic_config.nodes.{n} = {name}" for n, name in enumerate(self._shared.names, 1)
        )
        conf = self.home / "rabbitmq.conf"
        write_private(conf, conf.read_bytes() + _CLUSTER_CONF.format(nodes=nodes).encode())

    def specs(self) -> tuple[ProcessSpec, ...]:
        """The node; the first one's port mapper too."""
        epmd, node = super().specs()
        return (epmd, node) if self._number == 0 else (node,)


class RabbitMQCluster:
    """``size`` nodes behind one address.

    Args:
        home: the folder of all of them.
        size: how many.
    """

    def __init__(self, home: Path, size: int = 3) -> None:
        # Erlang's name for a host, and so a node, is one machine's: other clusters here need other names.
        mark = secrets.token_hex(3)
        names = tuple(f"mw{mark}n{n}@localhost" for n in range(1, size + 1))
        shared = Shared(names, secrets.token_hex(20), "mailwarren", secrets.token_hex(16), free_ports(1)[0])
        self.home = home
        self.nodes = [ClusterNode(home / f"n{n}", shared, n - 1) for n in range(1, size + 1)]
        self.front: Front | None = None

    def start(self) -> None:
        """Start all at once; returns when each sees all others and the front is open.

        Raises:
            DevstackError: one did not come up, or they found no cluster.
        """
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            node.wait_ready(lambda at=node: at.pid is not None)  # type: ignore[misc]
        until(lambda: self.running() == len(self.nodes), 30, "the nodes to find each other")
        self.front = Front([node.broker.amqp for node in self.nodes])
        self.front.open()

    @property
    def amqp_url(self) -> str:
        """Through the front."""
        if self.front is None:
            raise DevstackError("the cluster has not been started yet")
        broker = self.nodes[0].broker
        return f"amqp://{broker.user}:{broker.password}@127.0.0.1:{self.front.port}/{VHOST}"

    @property
    def pids(self) -> list[int]:
        """All processes of all nodes."""
        return [pid for node in self.nodes for pid in node.pids]

    def ask(self, path: str) -> object:
        """The management API, from the first node that answers.

        Raises:
            DevstackError: none does.
        """
        for node in self.nodes:
            with contextlib.suppress(httpx.HTTPError):
                return httpx.get(f"{node.management_url}/api/{path}", timeout=5).raise_for_status().json()
        raise DevstackError(f"no node answers {path}")

    def running(self) -> int:
        """Nodes that the others see running."""
        found = self.ask("nodes")
        return sum(bool(one.get("running")) for one in found) if isinstance(found, list) else 0

    def quorum_queues(self) -> list[dict[str, object]]:
        """Each with its ``leader``, ``members`` and those ``online``."""
        found = self.ask(f"queues/{VHOST}")
        return [one for one in found if one.get("type") == "quorum"] if isinstance(found, list) else []

    def remove(self) -> None:
        """Kills all and deletes the data."""
        if self.front is not None:
            self.front.close()
        for node in reversed(self.nodes):
            node.kill()
        for node in reversed(self.nodes):
            node.remove()
        shutil.rmtree(self.home, ignore_errors=True)


class Front:
    """A TCP port that hands each connection to the first of its ports where somebody listens.

    Not in turn, as a Service would: so all clients are at one node, and a test that kills it takes all connections.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = list(ports)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._open = True
        self.served: dict[int, int] = dict.fromkeys(ports, 0)
        """Connections so far, by port."""

    @property
    def port(self) -> int:
        """Where clients connect."""
        return int(self._listener.getsockname()[1])

    def open(self) -> None:
        """Take connections."""
        self._thread.start()

    def close(self) -> None:
        """Take no more."""
        self._open = False
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while self._open:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = self._server()
            if server is None:
                client.close()
                continue
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=_carry, args=(source, target), daemon=True).start()

    def _server(self) -> socket.socket | None:
        for port in self._ports:
            with contextlib.suppress(OSError):
                link = socket.create_connection(("127.0.0.1", port), timeout=2)
                link.settimeout(None)
                self.served[port] += 1
                return link
        return None


def _carry(source: socket.socket, target: socket.socket) -> None:
    """One direction: what comes, and then its end. The sockets close with the last thread that knows them."""
    with contextlib.suppress(OSError):
        target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while octets := source.recv(65_536):
            target.sendall(octets)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def until(condition: Callable[[], bool], timeout: float, what: str) -> None:
    """Return when ``condition()`` holds.

    Raises:
        DevstackError: not within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise DevstackError(f"{what} took longer than {timeout:.0f} s")
        time.sleep(0.2)
