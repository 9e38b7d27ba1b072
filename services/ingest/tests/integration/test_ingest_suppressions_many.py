"""A million suppressions: a page of them, and a look at accept, stay quick."""

import time

import asyncpg
import pytest

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.unsubscribe import LISTS
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.suppressions import Suppressions

MANY = 1_000_000


@pytest.fixture
async def many(place, caller):
    """A tenant with a million addresses on its list, 50 of them for a complaint, and 50,000 that left all lists."""
    connection = await asyncpg.connect(place.database_url)
    await connection.execute(
        "INSERT INTO suppressions (tenant, address, id, reason, origin, created_at) "
        "SELECT $1, 'p' || n || '@x.test', ('018f0000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'import', "
        f"CASE WHEN n % {MANY // 50} = 0 THEN 'complaint' ELSE 'manual' END, now() FROM generate_series(1, {MANY}) n",
        caller.tenant, timeout=60,
    )  # fmt: skip
    await connection.execute(
        "INSERT INTO unsubscribes (tenant, topic, address, reason, created_at) "
        "SELECT $1, $2, 'p' || n || '@x.test', 'unsubscribe', now() FROM generate_series(1, 50000) n",
        caller.tenant, LISTS, timeout=60,
    )  # fmt: skip
    await connection.execute("ANALYZE suppressions, unsubscribes")
    yield caller.tenant
    await connection.execute("DELETE FROM suppressions WHERE tenant = $1", caller.tenant, timeout=60)
    await connection.execute("DELETE FROM unsubscribes WHERE tenant = $1", caller.tenant, timeout=60)
    await connection.execute("VACUUM suppressions, unsubscribes")
    await connection.close()


async def test_a_page_of_a_million_is_read_within_a_tenth_of_a_second(many, client, place):
    def best(path="/suppressions", **query):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            answer = client.get(path, params=query)
            times.append(time.perf_counter() - start)
        assert answer.status_code == 200, answer.text
        return min(times), answer.json()

    took, first = best(limit=100)
    assert ([one["email"] for one in first["data"][:2]], first["has_more"]) == (
        [f"p{MANY}@x.test", f"p{MANY - 1}@x.test"], True,
    )  # fmt: skip
    assert took < 0.1
    middle = f"018f0000-0000-7000-8000-{MANY // 2:012x}"
    for query in ({"after": middle}, {"before": middle}, {"origin": "complaint"}, {"scope": "lists"}):
        took, page = best(limit=100, **query)
        assert page["data"]
        assert took < 0.1, query
    took, complaints = best(limit=100, origin="complaint")
    assert ([one["origin"] for one in complaints["data"]], complaints["has_more"]) == (["complaint"] * 50, False)
    for name in (f"p{MANY // 3}@x.test", middle):
        took, _ = best(f"/suppressions/{name}")
        assert took < 0.1
    async with Database(place.database_url, 2) as database:
        lists = Suppressions(database)
        addresses = {f"p{n}@x.test" for n in range(45_000, 55_000)}
        start = time.perf_counter()
        left = await lists.left(many, {LISTS: addresses})
        assert time.perf_counter() - start < 1
        assert left is not None
        assert len(left[LISTS]) == 5001
        assert await lists.left(new_id(), {LISTS: addresses}) == {LISTS: frozenset()}
