"""The suppression list at accept: one query for all requests that wait, and acceptance without it when it is late."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

import structlog

from mailwarren.contracts.unsubscribe import LISTS
from mailwarren.ingest.adapters.database import Database, DatabaseDown
from mailwarren.ingest.adapters.erased import is_erased

log = structlog.get_logger()

LIMIT = 0.3
"""Seconds that mail waits for the list; then it is accepted unchecked."""
LIMIT_EACH = 0.0001
"""Seconds more for each address: a bulk call asks for up to 10,000."""
ALONE = 100
"""Addresses above which a request has a query of its own, so that nobody else waits for it."""
PAUSE = 1.0
"""Seconds without a look after a failure, so that an outage does not cost every request the limit."""

_SQL = f"""
SELECT s.tenant, s.address
FROM unnest($1::uuid[], $2::text[]) AS asked(tenant, address)
JOIN suppressions s ON s.tenant = asked.tenant AND s.address = asked.address
WHERE s.expires_at IS NULL OR s.expires_at > now()
UNION ALL
SELECT asked.tenant, asked.address FROM unnest($1::uuid[], $2::text[]) AS asked(tenant, address)
WHERE {is_erased("asked.tenant", "asked.address")}
"""  # noqa: S608 - constants
# Who has left, and about a topic that one has to take first: who has not taken it. Of a topic that is gone: all.
_LEFT = """
SELECT u.address FROM unnest($3::text[]) AS asked(address)
JOIN unsubscribes u ON u.tenant = $1 AND u.topic = ANY($2::uuid[]) AND u.address = asked.address
"""
_NOT_IN = """
UNION
SELECT asked.address FROM unnest($3::text[]) AS asked(address)
WHERE NOT EXISTS (SELECT FROM topics t WHERE t.tenant = $1 AND t.id = $4 AND t.deleted_at IS NULL AND (
  t.default_subscription = 'opt_in' OR EXISTS (
    SELECT FROM contacts c
    JOIN contact_topics s ON s.tenant = c.tenant AND s.contact = c.id AND s.topic = t.id AND s.subscription = 'opt_in'
    WHERE c.tenant = $1 AND c.email_key = asked.address)))
"""


@dataclass(slots=True)
class _Question:
    tenant: UUID
    addresses: list[str]
    limit: float
    answer: "asyncio.Future[frozenset[str] | None]"

    def give(self, answer: frozenset[str] | None) -> None:
        """Answer it, unless it has its answer or nobody waits any more."""
        if not self.answer.done():
            self.answer.set_result(answer)


class Suppressions:
    """Asks the list. Requests that come while a query runs share the next one."""

    def __init__(self, database: Database, limit: float = LIMIT) -> None:
        self._database = database
        self._limit = limit
        self._waiting: list[_Question] = []
        self._asking: asyncio.Task[None] | None = None
        self._pause_until = 0.0

    async def among(self, tenant: UUID, addresses: Collection[str]) -> frozenset[str] | None:
        """Which of the addresses (keys) are suppressed, or None when the list could not be read in time."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._pause_until:
            return None
        limit = self._limit + len(addresses) * LIMIT_EACH
        question = _Question(tenant, list(addresses), limit, loop.create_future())
        if len(addresses) > ALONE:
            try:
                async with asyncio.timeout(limit):
                    await self._answer([question])
            except TimeoutError:
                return None
            return question.answer.result()
        self._waiting.append(question)
        self._asking = self._asking or loop.create_task(self._ask(), name="suppressions")
        late = loop.call_later(limit, question.give, None)
        try:
            return await question.answer
        finally:
            late.cancel()

    async def left(self, tenant: UUID, asked: Mapping[UUID, Collection[str]]) -> dict[UUID, frozenset[str]] | None:
        """Which of the addresses (keys) get no mail about their topic; None when that cannot be read in time.

        Args:
            tenant: whose mail.
            asked: by topic; those of mail to lists without a topic under ``LISTS``.
        """
        loop = asyncio.get_running_loop()
        found: dict[UUID, frozenset[str]] = {}
        for topic, addresses in asked.items():
            if loop.time() < self._pause_until:
                return None
            limit = self._limit + len(addresses) * LIMIT_EACH
            sql, more = (_LEFT, ()) if topic == LISTS else (_LEFT + _NOT_IN, (topic,))
            values = (tenant, list({LISTS, topic}), list(addresses), *more)
            try:
                rows = await self._database.fetch(sql, *values, within=limit)
            except DatabaseDown as error:
                self._down(error)
                return None
            found[topic] = frozenset(row["address"] for row in rows)
        return found

    def _down(self, error: DatabaseDown) -> None:
        self._pause_until = asyncio.get_running_loop().time() + PAUSE
        log.warning("ingest.suppressions.unread", error=str(error))

    async def _ask(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._answer(batch)
        finally:
            self._asking = None

    async def _answer(self, batch: list[_Question]) -> None:
        tenants = [question.tenant for question in batch for _ in question.addresses]
        addresses = [address for question in batch for address in question.addresses]
        found: dict[UUID, set[str]] | None = None
        try:
            limit = max(question.limit for question in batch)
            rows = await self._database.fetch(_SQL, tenants, addresses, within=limit)
            found = defaultdict(set)
            for row in rows:
                found[row["tenant"]].add(row["address"])
        except DatabaseDown as error:
            self._down(error)
        for question in batch:
            question.give(_hits(found, question))


def _hits(found: dict[UUID, set[str]] | None, question: _Question) -> frozenset[str] | None:
    if found is None:
        return None
    # asyncpg returns UUIDs of its own class, equal and of equal hash to the standard one.
    return frozenset(found.get(question.tenant, ())).intersection(question.addresses)
