"""Benchmarks of the hot paths, run on demand: ``make benchmarks``. Each prints what one mail or one call costs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailwarren.bench.work import HTML, SENDER, SUBJECT, TEXT, make_work
from mailwarren.contracts.parcel import Parcel, Syntax
from mailwarren.contracts.testing import a_content, a_delivery, a_parcel
from mailwarren.devstack.harness.system import System

PARCEL = 50


@pytest.fixture
def make_parcel() -> Callable[[], Parcel]:
    """Make fifty mails of a bulk call, with new ids each time."""

    def make() -> Parcel:
        content = a_content(sender=SENDER, subject=SUBJECT, html=HTML, text=TEXT, syntax=Syntax.TEMPLATE)
        deliveries = tuple(a_delivery(one.to, variables=one.variables) for one in make_work(PARCEL))
        return a_parcel(content=content, deliveries=deliveries)

    return make


@pytest.fixture
def parcel(make_parcel: Callable[[], Parcel]) -> Parcel:
    """One of these."""
    return make_parcel()


@pytest.fixture(scope="session")
def sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A sink process; ``127.0.0.1:port``."""
    yield from _sink(tmp_path_factory.mktemp("sink"))


@pytest.fixture(scope="session")
def chunking_sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One that offers CHUNKING."""
    root = tmp_path_factory.mktemp("chunking")
    script = root / "script.json"
    script.write_text('{"personas": [{"hosts": ["127.0.0.1"], "chunking": true}]}')
    yield from _sink(root, "--script", str(script))


def _sink(root: Path, *arguments: str) -> Iterator[str]:
    system = System(root, amqp_url="", database_url="")
    try:
        system.start_sink("--keep", "10", *arguments)
        yield system.smtp_url.removeprefix("smtp://")
    finally:
        system.close()
