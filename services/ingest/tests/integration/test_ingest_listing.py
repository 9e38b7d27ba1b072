"""Emails listed by recipient, state or tag: the right ones in their order, and a first page in time.

``make listing-check`` loads a million; ``MAILWARREN_LISTING_MAILS`` says how many.
"""

import os
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from mailwarren.contracts.ids import new_id
from mailwarren.devstack.databases import run_apart

MAILS = int(os.environ.get("MAILWARREN_LISTING_MAILS", "20000"))
WITHIN = 0.1
"""Seconds for a first page."""
RARE = 5_000
"""One mail of so many is a bounce, has the rare tag, and goes to one address."""
START = datetime(2026, 1, 1, tzinfo=UTC)
EMAIL = (
    "id", "tenant", "created_at", "lane", "partition", "content", "sender", "subject", "to", "cc", "bcc", "reply_to",
    "tags", "metadata", "message_id", "on_unknown",
)  # fmt: skip
DELIVERY = (
    "id", "email_id", "tenant", "address", "role", "lane", "state", "attempt", "accepted_at", "updated_at", "ended_at",
)  # fmt: skip


def ident(kind: int, number: int) -> UUID:
    """Ids that do not sort by time, as those of calls with an Idempotency-Key do not."""
    return UUID(int=(number * 0x9E3779B97F4A7C15F39CC0605CEDC835 + kind) % 2**128)


def rows(tenant: UUID, kind: int, first: int, last: int):
    emails, deliveries = [], []
    for number in range(first, last):
        at = START + timedelta(seconds=number)
        rare = number % RARE == 0
        state, name = ("bounced", "rare") if rare else ("delivered", "common")
        email = ident(kind, 2 * number)
        to = ["Some@rare.test" if rare else f"p{number}@x.test"] + (["copy@rare.test"] if rare else [])
        tags = f'[{{"name": "kind", "value": "{name}"}}]'
        emails.append((email, tenant, at, "bulk", 0, b"\0", "s@x.test", "S", to, [], [], [], tags, "{}", "m", "resend"))
        deliveries += [
            (ident(kind, 2 * number + turn), email, tenant, one, "to", "bulk", state, 1, at, at, at)
            for turn, one in enumerate(to)
        ]
    return emails, deliveries


async def load(url: str, tenant: UUID, kind: int, mails: int) -> None:
    connection = await asyncpg.connect(url)
    try:
        for first in range(0, mails, 10_000):
            emails, deliveries = rows(tenant, kind, first, min(mails, first + 10_000))
            await connection.copy_records_to_table("emails", records=emails, columns=EMAIL)
            await connection.copy_records_to_table("deliveries", records=deliveries, columns=DELIVERY)
        for table in ("emails", "deliveries", "email_tags"):
            await connection.execute(f"ANALYZE {table}", timeout=120)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def many(place, server, new_caller):
    """A client whose tenant has many mails; another tenant has some of the same kinds."""
    caller = new_caller()
    run_apart(load(place.database_url, caller.tenant, 1, MAILS))
    run_apart(load(place.database_url, new_caller().tenant, 7, RARE + 1))
    with server.client(caller.token) as client:
        yield client
    for table in ("deliveries", "emails"):
        place.sql(f"DELETE FROM {table} WHERE created_at < $1" if table == "emails" else
                  f"DELETE FROM {table} WHERE accepted_at < $1", START + timedelta(days=20))  # fmt: skip


NEWEST = (MAILS - 1) // RARE * RARE
CHOSEN = {
    "to": ({"to": "some@RARE.test"}, RARE),
    "rare state": ({"state": "bounced"}, RARE),
    "common state": ({"state": "delivered"}, 1),
    "rare tag": ({"tag": "kind:rare"}, RARE),
    "common tag": ({"tag": "kind:common"}, 1),
}


def expected(step: int) -> list[str]:
    numbers = range(NEWEST, -1, -RARE) if step == RARE else (n for n in range(MAILS - 1, -1, -1) if n % RARE)
    return [str(ident(1, 2 * number)) for number, _ in zip(numbers, range(60), strict=False)]


@pytest.mark.parametrize("name", sorted(CHOSEN))
def test_pages_follow_each_other_in_both_directions(many, name):
    query, step = CHOSEN[name]
    wanted = expected(step)
    first = many.get("/emails", params=query | {"limit": 2}).json()
    assert [one["id"] for one in first["data"]] == wanted[:2]
    assert first["has_more"] is (len(wanted) > 2)
    second = many.get("/emails", params=query | {"limit": 2, "after": wanted[1]}).json()
    assert [one["id"] for one in second["data"]] == wanted[2:4]
    back = many.get("/emails", params=query | {"limit": 1, "before": wanted[1]}).json()
    assert [one["id"] for one in back["data"]] == wanted[:1]


@pytest.mark.parametrize("name", sorted(CHOSEN))
def test_a_first_page_is_there_in_time(many, name):
    query, _ = CHOSEN[name]
    took = []
    for _ in range(7):
        began = time.perf_counter()
        assert many.get("/emails", params=query).status_code == 200
        took.append(time.perf_counter() - began)
    best = sorted(took)[len(took) // 2]
    print(f"{MAILS:,} mails, {name}: {best * 1000:.1f} ms (median), {max(took) * 1000:.1f} ms (worst)")
    assert best < WITHIN


def test_what_nobody_has_is_an_empty_page_in_time(many):
    for query in ({"to": "nobody@x.test"}, {"state": "held"}, {"tag": "kind:none"}):
        began = time.perf_counter()
        assert many.get("/emails", params=query).json()["data"] == []
        assert time.perf_counter() - began < 1


def test_no_list_sorts_or_reads_all(many, place):
    """What the time says on a big table, the plan says on any: an index in the order of the list."""
    by_key = "lower(address) = lower('some@rare.test'::text) AND lower(address COLLATE \"C\") = 'some@rare.test'"
    for condition in (by_key, "state = 'delivered'"):
        plan = place.sql(
            "EXPLAIN (COSTS OFF) SELECT DISTINCT ON (accepted_at, email_id) accepted_at, email_id FROM deliveries "
            f"WHERE tenant = '{new_id()}' AND {condition} AND accepted_at IS NOT NULL "
            "ORDER BY accepted_at DESC, email_id DESC LIMIT 21"
        )
        text = "\n".join(row[0] for row in plan)
        assert "Seq Scan" not in text
        assert "ix_deliveries_" in text


def test_cursors_and_what_goes_together(many):
    assert many.get("/emails", params={"state": "bounced", "after": str(new_id())}).status_code == 422
    assert many.get("/emails", params={"state": "bounced", "to": "a@b.test"}).status_code == 422
    assert many.get("/emails", params={"tag": "kind"}).status_code == 422
