"""The tracker's batch: acceptances and outcomes into a real Postgres."""

import asyncio

import pytest
import uvloop

from mailwarren.contracts import codec
from mailwarren.contracts.events import Kind, Outcomes
from mailwarren.contracts.testing import an_attempt
from mailwarren.devstack.databases import run_apart
from mailwarren.sender.events import make_event
from mailwarren.store import migrate
from mailwarren.store.engine import make_engine
from mailwarren.tracker.adapters.partitions import Partitions
from mailwarren.tracker.adapters.store import PostgresLedger
from mailwarren.tracker.domain.read import Message, Source, read

PARCELS = 20


@pytest.fixture(scope="module")
def database_url(postgres):
    run_apart(migrate.upgrade(postgres.database_url))
    return postgres.database_url


def _works(make, now):
    """Twenty parcels of fifty as they are accepted, and then their outcomes."""
    parcels = [make() for _ in range(PARCELS)]
    accepted, outcomes = [], []
    for one in parcels:
        accepted.append(read(Message(Source.ACCEPTED, "q", codec.encode_parcel(one), codec.parcel_headers(one)), now))
        events = Outcomes(tuple(make_event(one, it, Kind.DELIVERED, tried=an_attempt()) for it in one.deliveries))
        outcomes.append(read(Message(Source.EVENTS, "q", codec.encode(events), codec.headers_of(events)), now))
    return accepted, outcomes


def bench_record_1000_mails(benchmark, database_url, make_parcel):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:

        async def open_ledger():
            engine = make_engine(database_url)
            return engine, PostgresLedger(engine, Partitions(30))

        engine, ledger = runner.run(open_ledger())

        def prepare():
            return _works(make_parcel, make_parcel().accepted_at), {}

        async def record(accepted, outcomes):
            await ledger.record(accepted)
            return await ledger.record(outcomes)

        benchmark.pedantic(lambda *works: runner.run(record(*works)), setup=prepare, rounds=12, warmup_rounds=2)
        runner.run(ledger.close())
        runner.run(engine.dispose())
