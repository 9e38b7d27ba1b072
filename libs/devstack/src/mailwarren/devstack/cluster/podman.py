"""Podman with the storage that ``make images-test`` builds into: a network on which pods find each other by name."""

import json
import os
import select
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mailwarren.devstack.cluster.pods import Container
from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.state import write_private

_SETTINGS = {
    "CONTAINERS_STORAGE_CONF": "storage.conf",
    "CONTAINERS_CONF": "containers.conf",
    "CONTAINERS_REGISTRIES_CONF": "registries.conf",
    "XDG_RUNTIME_DIR": "xdg",
    "TMPDIR": "scratch",
}
_OCTETS = 65536


class Podman:
    """Runs podman.

    Args:
        home: the folder of its storage and settings.
        network: made by :meth:`make_network`; containers are on it.

    Raises:
        DevstackError: there is no podman, or nothing was built into its storage yet.
    """

    def __init__(self, home: Path, network: str) -> None:
        missing = [name for name in _SETTINGS.values() if not (home / name).exists()]
        if shutil.which("podman") is None or missing:
            raise DevstackError("No images to run: make images-test installs podman and builds them.")
        self._env = {**os.environ, **{name: str(home / value) for name, value in _SETTINGS.items()}}
        self.network = network

    def run(self, *words: str, timeout: float = 120) -> str:
        """One command that has to succeed; its standard output.

        Raises:
            DevstackError: it ended with an error.
        """
        done = subprocess.run(
            ["podman", *words], env=self._env, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode != 0:
            raise DevstackError(f"podman {words[0]} ended with {done.returncode}: {done.stderr.strip()[-1500:]}")
        return done.stdout.strip()

    def has_image(self, image: str) -> bool:
        """Whether it is in the storage."""
        argv = ["podman", "image", "exists", image]
        return subprocess.run(argv, env=self._env, capture_output=True, check=False).returncode == 0

    def make_network(self) -> str:
        """Makes the network anew; returns the address under which its containers reach this machine."""
        self.remove_network()
        self.run("network", "create", self.network)
        (found,) = json.loads(self.run("network", "inspect", self.network))
        return str(found["subnets"][0]["gateway"])

    def remove_network(self) -> None:
        """With every container on it."""
        argv = ["podman", "network", "rm", "--force", "--time", "0", self.network]
        subprocess.run(argv, env=self._env, capture_output=True, timeout=120, check=False)

    def start(self, container: Container, folder: Path) -> None:
        """Writes its files and starts it."""
        for path in container.folders:
            path.mkdir(mode=0o755, parents=True, exist_ok=True)
        for path, text in container.files.items():
            path.write_text(text)
            path.chmod(0o644)  # as a volume's files are in a cluster: the container's user is not ours
        env_file = folder / f"{container.name}.env"
        write_private(env_file, container.env_text().encode())
        words = container.command(env_file)
        self.run(words[1], "--network", self.network, *words[2:])

    def inspect(self, name: str) -> dict[str, Any]:
        """What podman knows about a container."""
        (found,) = json.loads(self.run("container", "inspect", name))
        return dict(found)

    def address(self, name: str) -> str:
        """Its address on the network."""
        return str(self.inspect(name)["NetworkSettings"]["Networks"][self.network]["IPAddress"])

    def stop(self, name: str, grace: int) -> tuple[int, float]:
        """SIGTERM, and SIGKILL after the grace; its exit status and the seconds it took."""
        started = time.monotonic()
        self.run("stop", "--time", str(grace), name, timeout=grace + 60)
        return int(self.inspect(name)["State"]["ExitCode"]), time.monotonic() - started

    def wait(self, name: str, timeout: float) -> int:
        """Its exit status when it has ended."""
        return int(self.run("wait", name, timeout=timeout))

    def logs(self, name: str, lines: int = 15) -> str:
        """The end of what it wrote."""
        argv = ["podman", "logs", "--tail", str(lines), name]
        done = subprocess.run(argv, env=self._env, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr


class Door:
    """Passes connections from an address of this machine on to a server that listens on loopback only.

    Args:
        address: where containers knock; the server's port is the same.
        port: of the server on 127.0.0.1.
    """

    def __init__(self, address: str, port: int) -> None:
        self._port = port
        self._listener = socket.create_server((address, port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Takes no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        try:
            with client, socket.create_connection(("127.0.0.1", self._port)) as server:
                _copy(client, server)
        except OSError:
            return  # one end is gone; the other notices as it would without us


def _copy(one: socket.socket, other: socket.socket) -> None:
    ends: Sequence[socket.socket] = (one, other)
    while True:
        for ready in select.select(ends, [], [])[0]:
            content = ready.recv(_OCTETS)
            if not content:
                return
            (other if ready is one else one).sendall(content)
