"""Whole systems of real processes, one for a test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailwarren.devstack.harness.system import System


def _run(system: System, request: pytest.FixtureRequest) -> Iterator[System]:
    system.prepare()
    try:
        yield system
    finally:
        failed = getattr(request.node, "failed", False)
        system.close()
        if failed:
            print(system.logs())


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.when == "call":
        item.failed = report.failed  # type: ignore[attr-defined]


@pytest.fixture
def system(
    tmp_path: Path, rabbitmq: Any, postgres: Any, amqp_prefix: str, request: pytest.FixtureRequest
) -> Iterator[System]:
    """Against the servers that all tests share."""
    made = System(tmp_path, amqp_url=rabbitmq.amqp_url, database_url=postgres.database_url, prefix=amqp_prefix)
    yield from _run(made, request)


@pytest.fixture(scope="module")
def module_system(
    tmp_path_factory: pytest.TempPathFactory,
    rabbitmq: Any,
    postgres: Any,
    amqp_prefix: str,
    request: pytest.FixtureRequest,
) -> Iterator[System]:
    """One for all tests of a module, which then may not use ``system``: they would share their queues."""
    root = tmp_path_factory.mktemp("system")
    made = System(root, amqp_url=rabbitmq.amqp_url, database_url=postgres.database_url, prefix=amqp_prefix)
    yield from _run(made, request)


@pytest.fixture
def system_with_own_broker(
    tmp_path: Path, own_rabbitmq: Any, postgres: Any, request: pytest.FixtureRequest
) -> Iterator[System]:
    """Against a broker that the test may stop."""
    yield from _run(System(tmp_path, amqp_url=own_rabbitmq.amqp_url, database_url=postgres.database_url), request)


@pytest.fixture
def system_with_own_postgres(
    tmp_path: Path, rabbitmq: Any, own_postgres: Any, amqp_prefix: str, request: pytest.FixtureRequest
) -> Iterator[System]:
    """Against a Postgres that the test may stop."""
    made = System(tmp_path, amqp_url=rabbitmq.amqp_url, database_url=own_postgres.database_url, prefix=amqp_prefix)
    yield from _run(made, request)
