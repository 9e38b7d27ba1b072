"""The broker and the database of a stack: private ones under the supervisor, or those that the user gave."""

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mailwarren.devstack.control import Add, Supervisor
from mailwarren.devstack.databases import can_query
from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.postgres import Postgres
from mailwarren.devstack.rabbitmq import RabbitMQ, answers_amqp
from mailwarren.devstack.rabbitmq_docker import DockerRabbitMQ, docker_answers
from mailwarren.devstack.rabbitmq_install import find_installation
from mailwarren.devstack.state import LocalDir

AMQP_URL = "MAILWARREN_AMQP_URL"
DATABASE_URL = "MAILWARREN_DATABASE_URL"
_DEFAULT_PORTS = {"amqp": 5672, "amqps": 5671}


@dataclass(frozen=True)
class Given:
    """The servers that the user named, each None when a private one is wanted."""

    amqp_url: str | None
    database_url: str | None

    @classmethod
    def from_environment(cls, local: LocalDir, environ: Mapping[str, str] = os.environ) -> "Given":
        """Who has sourced ``.local/env`` names the private servers, and that does not make them given ones."""

        def read(name: str, memory: Path) -> str | None:
            url = environ.get(name) or None
            password = urlsplit(url).password if url else None
            ours = password is not None and memory.exists() and password in _values(memory)
            return None if ours else url

        return cls(
            read(AMQP_URL, local.path / "rabbitmq" / "broker.json"),
            read(DATABASE_URL, local.path / "postgres" / "account.json"),
        )


def _values(memory: Path) -> Collection[object]:
    # Whole values: a password of the user's may well be a part of some word in the file.
    kept: dict[str, object] = json.loads(memory.read_text())
    return list(kept.values())


def private_rabbitmq(home: Path, *, log: Path | None = None) -> RabbitMQ | DockerRabbitMQ:
    """From the system's package, else in Docker.

    Raises:
        DevstackError: there is neither.
    """
    if find_installation() is not None:
        return RabbitMQ(home, log=log)
    if docker_answers():
        return DockerRabbitMQ(home, log=log)
    raise DevstackError(
        "There is no RabbitMQ: run bin/bootstrap, which installs it or says how; "
        f"or start Docker; or set {AMQP_URL} to one of yours."
    )


class Broker:
    """The stack's RabbitMQ."""

    def __init__(self, local: LocalDir, given: str | None, management_url: str | None) -> None:
        self._given = given
        self._management = management_url
        self._private = None if given else private_rabbitmq(local.path / "rabbitmq", log=local.log("rabbitmq"))

    def launch(self, supervisor: Supervisor) -> None:
        """Has the supervisor start it; does not wait."""
        if self._private:
            self._private.prepare()
            supervisor.ask(Add(self._private.specs()))

    def wait(self, supervisor: Supervisor) -> None:
        """Returns when it answers.

        Raises:
            DevstackError: it does not.
        """
        if self._private:
            self._private.wait_ready(lambda: supervisor.status()["rabbitmq"].state == "running")
        elif not _answers(self.amqp_url):
            raise DevstackError(f"No RabbitMQ answers at {_without_password(self.amqp_url)} ({AMQP_URL}).")

    @property
    def amqp_url(self) -> str:
        """Where it is."""
        return self._given or (self._private.amqp_url if self._private else "")

    @property
    def management_url(self) -> str | None:
        """Its management API, if it is known."""
        return self._private.management_url if self._private else self._management


class Database:
    """The stack's Postgres."""

    def __init__(self, local: LocalDir, given: str | None) -> None:
        self._given = given
        self._private = None if given else Postgres(local.path / "postgres", log=local.log("postgres"))

    def launch(self, supervisor: Supervisor) -> None:
        """Has the supervisor start it; does not wait."""
        if self._private:
            self._private.prepare()
            supervisor.ask(Add(self._private.specs()))

    def wait(self, supervisor: Supervisor) -> None:
        """Returns when it takes queries.

        Raises:
            DevstackError: it does not.
        """
        if self._private:
            self._private.wait_ready(lambda: supervisor.status()["postgres"].state == "running")
        elif not can_query(self.database_url):
            raise DevstackError(f"No Postgres answers at {_without_password(self.database_url)} ({DATABASE_URL}).")

    @property
    def database_url(self) -> str:
        """Where it is."""
        return self._given or (self._private.database_url if self._private else "")


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme == "amqps":
        return True  # the first service to connect says what is wrong with its certificate
    return answers_amqp(parts.port or _DEFAULT_PORTS["amqp"], parts.hostname or "127.0.0.1")


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
