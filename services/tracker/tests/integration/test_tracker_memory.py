"""How much a tracker has in hand is bounded in octets, whatever the size of the messages."""

import asyncio
import re
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Wait
from mailwarren.contracts.testing import a_content, a_parcel, an_attempt
from mailwarren.store.engine import dsn

pytestmark = [pytest.mark.broker, pytest.mark.postgres]

MIB = 1024 * 1024
PARCELS = 64
BODY = 512 * 1024
"""The largest content that ingest takes."""


def peak(process):
    """The most memory that a process ever had, in MiB."""
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


async def publish(broker):
    """32 MiB of acceptances, and the same again as deferrals in all partitions."""
    content = a_content(html="\N{SNOWMAN}" * (BODY // 3))
    last = an_attempt(1)
    for n in range(PARCELS):
        parcel = a_parcel(to=[f"a{n}@x.test", f"b{n}@x.test"], lane=Lane.BULK, content=content, partition=n % 16)
        left = tuple(replace(delivery, last=last) for delivery in parcel.deliveries)
        await asyncio.gather(
            broker.accept(parcel),
            broker.defer(replace(parcel, deliveries=left, attempt=2, wait=Wait.DEFERRED)),
        )


async def test_large_messages_are_taken_a_few_at_a_time(start, broker, topology, database_url, database, eventually):
    process = await start(MAILWARREN_TRACKER_OCTETS=str(8 * MIB))
    await eventually(process.ready)
    before = peak(process)
    holder = await asyncpg.connect(dsn(database_url))
    async with holder.transaction():
        # Nothing can be written: all that the broker would give piles up.
        await holder.execute("LOCK TABLE deliveries")
        await publish(broker)
        await asyncio.sleep(2)
    await holder.close()
    recorded = "SELECT count(*) = 2 * $1 FROM deliveries WHERE state = 'deferred' AND accepted_at IS NOT NULL"
    await eventually(lambda: database.fetchval(recorded, PARCELS), 30)
    await eventually(lambda: sum(broker.depth(queue) for queue in topology.tracker_queues) == 0)
    grown = peak(process) - before
    assert grown < 40, f"{grown:.0f} MiB for 64 MiB of messages, of which 8 may be in hand"
