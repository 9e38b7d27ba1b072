"""Fixtures with real servers for every member's tests: ``-p mailwarren.devstack.pytest_plugin``.

``--allowed-skips`` comes along: :mod:`.pytest_skips`.

- ``rabbitmq`` (session): the broker that all tests share, started when the first one asks; ``amqp_prefix`` (module)
  keeps them apart. With ``MAILWARREN_AMQP_URL`` it is that one.
- ``postgres`` (module): a fresh, empty database on the server that all tests share. With ``MAILWARREN_DATABASE_URL``
  it lies on that one, named ``mailwarren_test_…``.
- ``own_rabbitmq``, ``own_postgres`` (function): a private server that the test may stop, kill and start again.

What a test does to the process's logging, by running a command of ours in it, ends with the test.

A test that uses a broker has the mark ``broker``, whether it says so or not.

Everything is removed at the end, also after ^C; what a killed run left is removed by the next one.
"""

import logging
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import structlog

from mailwarren.devstack.broker_names import delete_prefixed
from mailwarren.devstack.databases import create_database, drop_database, with_database
from mailwarren.devstack.leftovers import Scratch, remove_leftovers
from mailwarren.devstack.postgres import Postgres
from mailwarren.devstack.private_server import PrivateServer
from mailwarren.devstack.rabbitmq import RabbitMQ
from mailwarren.devstack.rabbitmq_docker import DockerRabbitMQ
from mailwarren.devstack.servers import Given, private_rabbitmq
from mailwarren.devstack.state import LocalDir

pytest_plugins = ["mailwarren.devstack.pytest_skips"]
DATABASE_PREFIX = "mailwarren_test_"


@dataclass(frozen=True)
class SharedBroker:
    """A RabbitMQ that no test may stop."""

    amqp_url: str
    management_url: str | None
    metrics: str | None = None
    """``host:port`` of its Prometheus endpoint; None when it is a given server, or in Docker."""


@dataclass(frozen=True)
class TestDatabase:
    """A database of one test module."""

    __test__ = False
    database_url: str


def pytest_configure() -> None:
    """A logger that kept what it was configured with first would write into the closed output of another test."""
    configure = structlog.configure

    def without_keeping(**config: Any) -> None:
        configure(**(config | {"cache_logger_on_first_use": False}))

    structlog.configure = without_keeping  # type: ignore[assignment]  # the same, but for one argument


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Logging is as before the test. Not a fixture: Hypothesis takes one for a mistake."""
    root = logging.getLogger()
    # pytest's own handlers, of other types, come and go with each test.
    root.handlers = [handler for handler in root.handlers if type(handler) is not logging.StreamHandler]
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what uses a broker, also through other fixtures, so that ``-m broker`` leaves none of it out."""
    for item in items:
        if {"rabbitmq", "own_rabbitmq"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("broker")


@pytest.fixture(scope="session")
def devstack_scratch() -> Iterator[Scratch]:
    """The folder in which this run's servers live."""
    local = LocalDir.of_clone()
    remove_leftovers(local)
    scratch = Scratch(local)
    yield scratch
    scratch.remove()


@pytest.fixture(scope="session")
def rabbitmq(devstack_scratch: Scratch) -> Iterator[SharedBroker]:
    """The shared broker: ``.amqp_url`` and ``.management_url`` (None when a given server does not say)."""
    given = Given.from_environment(LocalDir.of_clone())
    if given.amqp_url:
        yield SharedBroker(given.amqp_url, os.environ.get("MAILWARREN_MANAGEMENT_URL"))
        return
    server = private_rabbitmq(devstack_scratch.home("rabbitmq"))
    try:
        _start(server, devstack_scratch, "rabbitmq")
        metrics = f"127.0.0.1:{server.broker.prometheus}" if isinstance(server, RabbitMQ) else None
        yield SharedBroker(server.amqp_url, server.management_url, metrics)
    finally:
        server.remove()


@pytest.fixture(scope="module")
def amqp_prefix(rabbitmq: SharedBroker) -> Iterator[str]:
    """A name prefix of the module's own, such as ``t4f2a9c.``; what carries it is deleted afterwards."""
    prefix = f"t{secrets.token_hex(3)}."
    yield prefix
    delete_prefixed(rabbitmq.amqp_url, prefix, rabbitmq.management_url)


@pytest.fixture(scope="session")
def postgres_server(devstack_scratch: Scratch) -> Iterator[str]:
    """The URL of a database on the shared server, from which others are created."""
    given = Given.from_environment(LocalDir.of_clone())
    if given.database_url:
        yield given.database_url
        return
    # Shared by tests that neither kill nor stop it: nothing to recover, so nothing to wait for the disk for.
    server = Postgres(devstack_scratch.home("postgres"), durable=False)
    try:
        _start(server, devstack_scratch, "postgres")
        yield server.database_url
    finally:
        server.remove()


@pytest.fixture(scope="module")
def postgres(postgres_server: str) -> Iterator[TestDatabase]:
    """An empty database of the module's own: ``.database_url``."""
    name = f"{DATABASE_PREFIX}{secrets.token_hex(6)}"
    create_database(postgres_server, name)
    yield TestDatabase(with_database(postgres_server, name))
    drop_database(postgres_server, name)


@pytest.fixture
def own_rabbitmq(devstack_scratch: Scratch) -> Iterator[RabbitMQ | DockerRabbitMQ]:
    """A private RabbitMQ, running: ``.amqp_url``, ``.stop()``, ``.kill()``, ``.start()``, ``.restart()``."""
    server = private_rabbitmq(devstack_scratch.home("own-rabbitmq"))
    try:
        _start(server, devstack_scratch, "own-rabbitmq")
        yield server
    finally:
        server.remove()


@pytest.fixture
def own_postgres(devstack_scratch: Scratch) -> Iterator[Postgres]:
    """A private, durable Postgres, running: ``.database_url``, ``.stop()``, ``.kill()``, ``.start()``."""
    server = Postgres(devstack_scratch.home("own-postgres"))
    try:
        _start(server, devstack_scratch, "own-postgres")
        yield server
    finally:
        server.remove()


def _start(server: PrivateServer, scratch: Scratch, name: str) -> None:
    server.start()
    for pid in server.pids:
        scratch.record(pid, name)
