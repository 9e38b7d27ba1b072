"""A private RabbitMQ node: own ports, own epmd, own cookie, all on loopback, run by whoever starts it.

It bypasses Debian's wrapper (which insists on the user ``rabbitmq``) and RabbitMQ's shell scripts (which break on a
folder with spaces) and starts the Erlang VM itself, so the process that is started is the broker.
"""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import msgspec

from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.ports import free_ports, is_free
from mailwarren.devstack.private_server import PrivateServer
from mailwarren.devstack.process import ProcessSpec
from mailwarren.devstack.rabbitmq_install import PLUGINS, Installation, find_installation, link_plugins
from mailwarren.devstack.state import write_json, write_private

VHOST = "mailwarren"
DEAD_LETTER_CONFIRM_MS = 10_000
"""A rung that dead-letters to a queue without a leader, as right after a crash, tries again so much later.

RabbitMQ's own 180,000 lets retries stand still for three minutes (ADR 0005)."""
_PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
_NODE = "mailwarren@localhost"
_ERL_ARGS = (
    *("-noinput", "-s", "rabbit", "boot", "-boot", "start_sasl", "+W", "w", "+B", "i"),
    *("+MBas", "ageffcbf", "+MHas", "ageffcbf", "+MBlmbcs", "512", "+MHlmbcs", "512", "+MMmcs", "30"),
    *("+P", "131072", "+t", "5000000", "+zdbbl", "128000"),
    *("+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"),
    *("-kernel", "inet_dist_use_interface", "{127,0,0,1}"),
    *("-kernel", "prevent_overlapping_partitions", "false"),
    # After a clean stop of everything that holds data, management's listener otherwise idles for 5 s more.
    *("-kernel", "shutdown_timeout", "2000"),
    *("-rabbit", "dead_letter_worker_publisher_confirm_timeout", str(DEAD_LETTER_CONFIRM_MS)),
)
_CONF = """\
listeners.tcp.1 = 127.0.0.1:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = {prometheus}
loopback_users = none
default_vhost = {vhost}
default_user = {user}
default_pass = {password}
vm_memory_high_watermark.absolute = 1GiB
disk_free_limit.absolute = 200MB
raft.wal_max_size_bytes = 67108864
"""


class Broker(msgspec.Struct):
    """What outlives a restart of the node: kept in its folder, readable by its owner only."""

    user: str
    password: str
    amqp: int
    management: int
    prometheus: int
    distribution: int
    epmd: int

    @property
    def ports(self) -> tuple[int, ...]:
        """All that the node listens on."""
        return (self.amqp, self.management, self.prometheus, self.distribution, self.epmd)


class RabbitMQ(PrivateServer):
    """One node and its data.

    Args:
        home: its folder; data of an earlier run is used again.
        log: the file that it writes to; ``home/rabbitmq.log`` unless given.
        installation: which RabbitMQ; the system's newest unless given.

    Raises:
        DevstackError: there is no RabbitMQ.
    """

    NAME = "rabbitmq"
    TITLE = "RabbitMQ"
    START_SECONDS = 120.0

    def __init__(self, home: Path, *, log: Path | None = None, installation: Installation | None = None) -> None:
        super().__init__(home, log=log)
        found = installation or find_installation()
        if found is None:
            raise DevstackError("RabbitMQ is not installed: run bin/bootstrap, which installs it or says how.")
        self.installation = found
        self._broker: Broker | None = None

    @property
    def broker(self) -> Broker:
        """Ports and credentials.

        Raises:
            DevstackError: neither ``prepare`` nor ``start`` was called yet.
        """
        if self._broker is None:
            raise DevstackError("the private RabbitMQ has not been prepared yet")
        return self._broker

    @property
    def amqp_url(self) -> str:
        """``amqp://user:password@127.0.0.1:port/mailwarren``."""
        broker = self.broker
        return f"amqp://{broker.user}:{broker.password}@127.0.0.1:{broker.amqp}/{VHOST}"

    @property
    def management_url(self) -> str:
        """The management API, with credentials: ``http://user:password@127.0.0.1:port``."""
        broker = self.broker
        return f"http://{broker.user}:{broker.password}@127.0.0.1:{broker.management}"

    def prepare(self) -> None:
        """Writes the node's files. Ports stay the same for this object, and for the next one while they are free."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "home").mkdir(mode=0o700, exist_ok=True)
        self._broker = self._broker or self._remember()
        cookie = self.home / "home" / ".erlang.cookie"
        if not cookie.exists():
            write_private(cookie, secrets.token_hex(20).encode())
            cookie.chmod(0o400)
        values = {name: getattr(self._broker, name) for name in Broker.__struct_fields__}
        write_private(self.home / "rabbitmq.conf", _CONF.format(vhost=VHOST, **values).encode())
        (self.home / "enabled_plugins").write_text(f"[{','.join(PLUGINS)}].\n")

    @property
    def node_name(self) -> str:
        """As Erlang knows it."""
        return _NODE

    @property
    def data(self) -> Path:
        """What the node keeps: queues, users, definitions."""
        return self.home / "mnesia" / self.node_name

    def specs(self) -> tuple[ProcessSpec, ...]:
        """The port mapper and the node, to be started in this order. Call ``prepare`` first."""
        epmd = ProcessSpec(
            name="epmd",
            argv=self.installation.argv("epmd", "-port", str(self.broker.epmd), "-address", "127.0.0.1"),
            stop_seconds=2,
            stage=-1,
            cwd=str(self.home),
            log=str(self.log),
        )
        node = ProcessSpec(
            name=self.NAME,
            argv=self.installation.argv("erl", "-pa", "", *_ERL_ARGS),
            env=self._environment(),
            stop_seconds=30,
            stage=0,
            cwd=str(self.home),
            log=str(self.log),
        )
        return epmd, node

    def is_up(self) -> bool:
        """Whether the node answers an AMQP handshake: it opens its listeners last."""
        return answers_amqp(self.broker.amqp)

    def stop(self) -> None:
        """Stops the node in an orderly way, and its port mapper. Its data stays."""
        super().stop()
        self._kill_stray_epmd()

    def erlang(self, call: str) -> str:
        """What a call inside the node returns, such as ``rabbit_nodes, all_running, []``; for what no API does.

        Raises:
            DevstackError: the node cannot be reached, or the call failed there.
        """
        code = f"R = rpc:call('{self.node_name}', {call}), io:format(\"~p\", [R]), halt()."
        name = (
            "-sname",
            f"caller{secrets.token_hex(4)}@localhost",
            "-kernel",
            "inet_dist_use_interface",
            "{127,0,0,1}",
        )
        done = subprocess.run(
            self.installation.argv("erl", "-noinput", "-hidden", *name, "-eval", code),
            env={**os.environ, **self._environment()},
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        if done.returncode or "badrpc" in done.stdout:
            raise DevstackError(f"{self.node_name} did not do {call}: {(done.stdout + done.stderr).strip()}")
        return done.stdout

    def kill(self) -> None:
        """SIGKILL to the node, as a power cut would. Its port mapper stays.

        A quorum queue that was declared less than a second ago does not survive this on RabbitMQ 3.10: it comes back
        with its messages but never elects a leader (ra flushes its table of queues every half second).
        """
        if self.NAME in self._processes:
            self._processes[self.NAME].kill(signal.SIGKILL)

    def remove(self) -> None:
        """Kills what runs and deletes the data."""
        self.kill()
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def _remember(self) -> Broker:
        """Credentials are for ever, ports only while nobody else has them."""
        path = self.home / "broker.json"
        known = msgspec.json.decode(path.read_bytes(), type=Broker) if path.exists() else None
        if known and all(is_free(port) for port in known.ports):
            return known
        ports = free_ports(5)
        user, password = (known.user, known.password) if known else ("mailwarren", secrets.token_hex(16))
        broker = Broker(user, password, *ports)
        write_json(path, broker)
        return broker

    def _environment(self) -> dict[str, str]:
        home, broker = self.home, self.broker
        plugins = str(link_plugins(self.installation, home / "plugins"))
        return {
            "HOME": str(home / "home"),
            "LANG": "C.UTF-8",
            "ERL_LIBS": plugins,
            "ERL_EPMD_PORT": str(broker.epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_MAX_PORTS": "65536",
            "ERL_MAX_ETS_TABLES": "50000",
            "ERL_CRASH_DUMP": str(home / "erl_crash.dump"),
            "RABBITMQ_HOME": str(self.installation.inner_home),
            "RABBITMQ_PLUGINS_DIR": plugins,
            "RABBITMQ_NODENAME": self.node_name,
            "RABBITMQ_BASE": str(home),
            "RABBITMQ_MNESIA_BASE": f"{_plain_path(home)}/mnesia",
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(home / "rabbitmq.pid"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_DIST_PORT": str(broker.distribution),
        }

    def _kill_stray_epmd(self) -> None:
        """A node that finds no port mapper starts one of its own, as a daemon on our port."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.broker.epmd), timeout=1) as link:
            link.sendall(b"\x00\x01k")  # KILL_REQ: it obeys on loopback, once no node is registered


def answers_amqp(port: int, host: str = "127.0.0.1") -> bool:
    """Whether an AMQP 0-9-1 server says its first words on ``port``."""
    try:
        with socket.create_connection((host, port), timeout=1) as link:
            link.settimeout(2)
            link.sendall(_PROTOCOL_HEADER)
            return link.recv(1) == b"\x01"  # a method frame: connection.start
    except OSError:
        return False


def _plain_path(home: Path) -> str:
    """``home`` without spaces and the like: RabbitMQ asks ``df`` about its data directory and quotes nothing.

    Where that fails the node takes its disk for full. The node and its ``df`` both run in ``home``.
    """
    return str(home) if re.fullmatch(r"[\w./+-]+", str(home), re.ASCII) else "/proc/self/cwd"
