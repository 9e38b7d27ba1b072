"""Scheduled mail while the database is away, at each side of it."""

import asyncio
from datetime import timedelta

import pytest

from mailwarren.ingest.adapters.broker import Broker
from mailwarren.ingest.adapters.database import Database, DatabaseDown
from mailwarren.ingest.adapters.depths import Depths
from mailwarren.ingest.adapters.releases import Releases
from mailwarren.ingest.adapters.sending_domains import SendingDomains
from mailwarren.ingest.adapters.suppressions import Suppressions
from mailwarren.ingest.domain.admission import Marks
from mailwarren.ingest.domain.unsubscribe_links import Links
from mailwarren.ingest.release import ScheduledMail
from mailwarren.runtime.amqp import Link, Publisher


def test_scheduled_mail_is_refused_and_mail_for_now_is_not(start, wire, place, caller, queues, mail):
    line = wire(place.database_url)
    server = start(database_url=line.url)
    later = mail | {"scheduled_at": "in 1 hour"}
    with server.client(caller.token) as client:
        assert client.post("/emails", json=later).status_code == 200
        line.cut()
        answer = client.post("/emails", json=later)
        assert (answer.status_code, answer.json()["name"]) == (503, "internal_server_error")
        assert answer.headers["retry-after"]
        mixed = client.post("/emails/batch", json=[mail, later])
        assert (mixed.status_code, [error["index"] for error in mixed.json()["errors"]]) == (200, [1])
    assert len(queues.parcels()) == 1


def test_a_database_lost_between_confirm_and_commit_makes_a_second_copy_that_is_asked_about(
    client, wire, place, caller, queues, mail
):
    line = wire(place.database_url)
    client.post("/emails", json=mail | {"scheduled_at": "in 1 hour"})
    place.sql("UPDATE scheduled SET due_at = now() WHERE tenant = $1", caller.tenant)

    async def lose(self, rows):
        line.cut()
        await plain(self, rows)

    async def work():
        link = Link(place.amqp_url, "scheduler-test")
        broker = Broker(Publisher(link), place.topology)
        async with Database(line.url, 3) as database, link:
            await asyncio.wait_for(link.wait_up(), 10)
            domains = SendingDomains(database)
            await domains.refresh()
            source = ScheduledMail(
                Releases(database, timedelta(hours=1)), broker, Depths(link, place.topology, 0.2),
                Marks(10**6, 10**6), Suppressions(database, 4.0), domains=domains,
                links=Links(),
            )  # fmt: skip
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Releases, "released", lose)
                with pytest.raises(DatabaseDown):
                    await source.release()
            with pytest.raises(DatabaseDown):
                await source.release()
            line.mend()
            await source.release()  # the lease is not over
            await asyncio.to_thread(
                place.sql, "UPDATE scheduled SET lease_until = now() WHERE tenant = $1", caller.tenant
            )
            await source.release()

    plain = Releases.released
    asyncio.run(work())
    # What other tests left due is released as well.
    first, second = (parcel for parcel in queues.parcels() if parcel.tenant == caller.tenant)
    assert (first.settle, second.settle) == (True, True)
    assert first.deliveries[0].id == second.deliveries[0].id
    [row] = place.sql("SELECT state, attempts FROM scheduled WHERE tenant = $1", caller.tenant)
    assert (row["state"], row["attempts"]) == ("released", 2)
