"""RabbitMQ in Docker, for machines that have an engine but cannot install the package.

The container keeps its data across stop, kill and start, and is deleted by ``remove``.
"""

import os
import secrets
import shutil
import subprocess
from pathlib import Path

import msgspec

from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.ports import free_ports
from mailwarren.devstack.private_server import PrivateServer
from mailwarren.devstack.process import ProcessSpec
from mailwarren.devstack.rabbitmq import DEAD_LETTER_CONFIRM_MS, VHOST, answers_amqp
from mailwarren.devstack.state import write_json

IMAGE_VARIABLE = "MAILWARREN_RABBITMQ_IMAGE"
_IMAGE = "rabbitmq:4.1-management"


def docker_answers() -> bool:
    """Whether there is a Docker engine for this user."""
    if shutil.which("docker") is None:
        return False
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=15, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


class Container(msgspec.Struct):
    """What was given to ``docker create``."""

    name: str
    user: str
    password: str
    amqp: int
    management: int


class DockerRabbitMQ(PrivateServer):
    """One container with the same face as :class:``~mailwarren.devstack.rabbitmq.RabbitMQ``."""

    NAME = "rabbitmq"
    TITLE = "RabbitMQ in Docker"
    START_SECONDS = 300.0  # the first start pulls the image
    POLL_SECONDS = 0.1

    def __init__(self, home: Path, *, log: Path | None = None) -> None:
        super().__init__(home, log=log)
        self._container: Container | None = None

    @property
    def container(self) -> Container:
        """Names, ports and credentials; ``prepare`` makes them."""
        if self._container is None:
            raise DevstackError("the private RabbitMQ has not been prepared yet")
        return self._container

    @property
    def amqp_url(self) -> str:
        """``amqp://user:password@127.0.0.1:port/mailwarren``."""
        made = self.container
        return f"amqp://{made.user}:{made.password}@127.0.0.1:{made.amqp}/{VHOST}"

    @property
    def management_url(self) -> str:
        """The management API, with credentials."""
        made = self.container
        return f"http://{made.user}:{made.password}@127.0.0.1:{made.management}"

    def prepare(self) -> None:
        """Creates the container, unless an earlier run did.

        Raises:
            DevstackError: Docker refused.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        path = self.home / "container.json"
        if path.exists():
            self._container = msgspec.json.decode(path.read_bytes(), type=Container)
            return
        amqp, management = free_ports(2)
        name = f"mailwarren-{secrets.token_hex(4)}"
        made = Container(name, "mailwarren", secrets.token_hex(16), amqp, management)
        environment = {"USER": made.user, "PASS": made.password, "VHOST": VHOST}
        argv = ["docker", "create", "--name", made.name, "--hostname", "mailwarren"]
        argv += [part for key, value in environment.items() for part in ("--env", f"RABBITMQ_DEFAULT_{key}={value}")]
        erlang = f"-rabbit dead_letter_worker_publisher_confirm_timeout {DEAD_LETTER_CONFIRM_MS}"
        argv += ["--env", f"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS={erlang}"]
        argv += ["--publish", f"127.0.0.1:{amqp}:5672", "--publish", f"127.0.0.1:{management}:15672"]
        result = subprocess.run([*argv, _image()], capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise DevstackError(f"Docker could not create RabbitMQ's container:\n{result.stderr.strip()}")
        write_json(path, made)
        self._container = made

    def specs(self) -> tuple[ProcessSpec, ...]:
        """``docker start --attach`` in the foreground: it hands signals on and ends with the container."""
        return (
            ProcessSpec(
                name=self.NAME,
                argv=("docker", "start", "--attach", self.container.name),
                cwd=str(self.home),
                log=str(self.log),
                stop_seconds=30,
                death_signal="TERM",
                stage=0,
            ),
        )

    def is_up(self) -> bool:
        """Whether the broker answers an AMQP handshake."""
        return answers_amqp(self.container.amqp)

    def stop(self) -> None:
        """Stops the container; its data stays."""
        self._docker("stop")
        super().stop()

    def kill(self) -> None:
        """SIGKILL to the broker."""
        self._docker("kill")
        super().stop()

    def remove(self) -> None:
        """Deletes the container and its data."""
        if self._container is None and not (self.home / "container.json").exists():
            return
        self.prepare()
        self._docker("rm", "--force", "--volumes")
        super().stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def _docker(self, *command: str) -> None:
        subprocess.run(["docker", *command, self.container.name], capture_output=True, check=False)


def _image() -> str:
    return os.environ.get(IMAGE_VARIABLE) or _IMAGE
