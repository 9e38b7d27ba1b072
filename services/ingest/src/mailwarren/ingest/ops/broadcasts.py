"""The errand of a broadcast: connections for :class:`.expansion.Expansion`, for as long as an order takes.

Each order has its own, as it has its own loop: opening them takes some 50 ms, and a slice lasts half a minute.
"""

import asyncio
import contextlib
from collections.abc import Callable
from uuid import UUID

from mailwarren.contracts.order import Order
from mailwarren.contracts.topology import Topology
from mailwarren.ingest.adapters.broker import Broker
from mailwarren.ingest.adapters.contacts import Contacts
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.depths import Depths
from mailwarren.ingest.adapters.expansions import Expansions
from mailwarren.ingest.adapters.sending_domains import SendingDomains
from mailwarren.ingest.adapters.suppressions import Suppressions
from mailwarren.ingest.domain.admission import Marks
from mailwarren.ingest.ops.expansion import Expansion, Reach
from mailwarren.ingest.settings import OpsSettings
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.runtime.tasks import end

LEFT_WITHIN = 5.0
"""Seconds for who of a batch has left its list."""
CONNECT_WITHIN = 5.0
"""Seconds for the broker; without it the expansion waits, and says so."""
LOOK_WITHIN = 2.0
"""Seconds for the first look at all its queues, which takes a tenth of one."""


async def expand(database: Database, settings: OpsSettings, stopping: Callable[[], bool], order: Order) -> str | None:
    """Work on the order's broadcast; None when it is a repeat.

    Raises:
        DatabaseDown: what was published and not committed is published again under the same ids.
    """
    topology = Topology(settings.amqp_prefix, settings.retry_scale)
    link = Link(settings.amqp_url.get_secret_value(), "worker")
    management = settings.management_url
    depths = Depths(link, topology, settings.depth_interval, management.get_secret_value() if management else None)
    domains = SendingDomains(database, bounce_host=settings.bounce_host, tracking=settings.tracking_links())
    # Before the first mail: one of a domain that is not known here would go unsigned.
    await domains.refresh()
    expansion = Expansion(
        expansions=Expansions(database),
        database=database,
        contacts=Contacts(database),
        broker=Broker(Publisher(link), topology),
        depths=depths,
        marks=Marks(settings.max_depth, settings.max_tracker_depth),
        reach=Reach(domains, settings.unsubscribe_links(), Suppressions(database, LEFT_WITHIN)),
        stopping=stopping,
    )
    async with link:
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                await link.wait_up()
        except TimeoutError:
            pass
        following = [asyncio.create_task(work) for work in (depths.follow(), domains.follow())]
        try:
            # A depth that is not known refuses nothing: the first batch would go into a queue that is full.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_WITHIN):
                    await depths.seen.wait()
            return await expansion.run(_subject(order), order.id)
        finally:
            await end(following)


async def give_up(database: Database, order: Order, trouble: str) -> None:
    """No try came to its end."""
    await Expansions(database).give_up(_subject(order), trouble)


def _subject(order: Order) -> UUID:
    if order.subject is None:
        raise ValueError("an order for a broadcast names it")
    return order.subject
