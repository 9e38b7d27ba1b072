"""Claims on Idempotency-Keys in Postgres. Times are the server's, so that processes with different clocks agree."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import structlog

from mailwarren.contracts.ids import keyed_id, nth_id
from mailwarren.ingest.adapters.database import Database, DatabaseDown
from mailwarren.ingest.domain.idempotency import LEASE, LIFETIME, Fresh, Record, Replay, TakeOver, decide

log = structlog.get_logger()

_INSERT = """
INSERT INTO idempotency_keys (tenant, key, base, owner, fingerprint, lease_until, created_at)
VALUES ($1, $2, $3, $4, $5, now() + $6, now()) ON CONFLICT DO NOTHING RETURNING key
"""
_PEEK = """
SELECT base, fingerprint, created_at, lease_until, answer, status, clock_timestamp() AS now
FROM idempotency_keys WHERE tenant = $1 AND key = $2
"""
_READ = f"{_PEEK} FOR UPDATE"
_TAKE_OVER = "UPDATE idempotency_keys SET owner = $3, lease_until = now() + $4 WHERE tenant = $1 AND key = $2"
_ANSWER = """
UPDATE idempotency_keys SET status = $4, answer = $5
WHERE tenant = $1 AND key = $2 AND owner = $3 AND answer IS NULL
"""
_RELEASE = """
UPDATE idempotency_keys SET lease_until = now() WHERE tenant = $1 AND key = $2 AND owner = $3 AND answer IS NULL
"""
_FORGET = "DELETE FROM idempotency_keys WHERE tenant = $1 AND key = $2 AND owner = $3 AND answer IS NULL"
_OLD_MAIL = """
SELECT 1 FROM emails WHERE tenant = $1 AND id = ANY($2::uuid[]) AND created_at < now() - $3::interval UNION ALL
SELECT 1 FROM scheduled WHERE tenant = $1 AND id = ANY($2::uuid[]) AND created_at < now() - $3::interval LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """This call holds the key. ``base`` is the id that all its ids come from; ``repeated`` after a take-over."""

    tenant: UUID
    key: str
    base: UUID
    owner: UUID
    repeated: bool


class Claims:
    """Claim, then exactly one of :meth:`answered`, :meth:`release` or :meth:`forget`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, tenant: UUID, key: str, fingerprint: bytes, rows: int = 1) -> Claim | Replay:
        """Take the key, or get the answer that was given. ``rows`` is how many emails the call may make.

        Raises:
            Refusal: 409.
            DatabaseDown: nothing is known.
        """
        owner = uuid4()
        async with self._database.connection() as connection, connection.transaction():
            base = await self._unused_base(connection, tenant, key, rows)
            if await connection.fetch(_INSERT, tenant, key, base, owner, fingerprint, LEASE):
                return Claim(tenant, key, base, owner, repeated=False)
            row = await connection.fetchrow(_READ, tenant, key)
            if row is None:
                raise DatabaseDown("the record of an Idempotency-Key was deleted while it was read")
            decision = decide(_record(row), fingerprint, row["now"])
            if isinstance(decision, Replay):
                return decision
            if isinstance(decision, TakeOver):
                await connection.execute(_TAKE_OVER, tenant, key, owner, LEASE)
                return Claim(tenant, key, decision.base, owner, repeated=True)
            assert isinstance(decision, Fresh)  # noqa: S101 - narrows the union
            await connection.execute("DELETE FROM idempotency_keys WHERE tenant = $1 AND key = $2", tenant, key)
            await connection.fetch(_INSERT, tenant, key, base, owner, fingerprint, LEASE)
            return Claim(tenant, key, base, owner, repeated=False)

    async def answer(self, tenant: UUID, key: str, fingerprint: bytes) -> Replay | None:
        """The answer that was given, if one was; takes nothing.

        Raises:
            Refusal: 409.
            DatabaseDown: nothing is known.
        """
        row = await self._database.fetchrow(_PEEK, tenant, key)
        decision = None if row is None else decide(_record(row), fingerprint, row["now"])
        return decision if isinstance(decision, Replay) else None

    async def _unused_base(self, connection: Any, tenant: UUID, key: str, rows: int) -> UUID:
        # A key may be used for other mail once its 24 hours are over; the ids of the old mail must not come again.
        # Mail younger than that belongs to this very call, whose record was lost with a failed-over server.
        base = keyed_id(tenant, key)
        ids = [base, *(nth_id(base, index) for index in range(rows))]
        if not await connection.fetch(_OLD_MAIL, tenant, ids, LIFETIME):
            return base
        return keyed_id(tenant, f"{key}\n{uuid4()}")

    async def answered(self, claim: Claim, status: int, answer: bytes) -> None:
        """Keep the answer for the next 24 hours. Without Postgres the lease runs out and a repeat settles its mail."""
        await self._write(_ANSWER, claim, status, answer)

    async def release(self, claim: Claim) -> None:
        """The call ended without a yes, and mail of it may be in the broker: the next may take over at once."""
        await self._write(_RELEASE, claim)

    async def forget(self, claim: Claim) -> None:
        """The call ended and nothing of it was published: the next call is the first again."""
        if claim.repeated:
            await self.release(claim)
        else:
            await self._write(_FORGET, claim)

    async def _write(self, sql: str, claim: Claim, *values: object) -> None:
        try:
            await self._database.fetch(sql, claim.tenant, claim.key, claim.owner, *values)
        except DatabaseDown as error:
            log.warning("ingest.idempotency.unwritten", error=str(error), base=str(claim.base))


def _record(row: Any) -> Record:
    created: datetime = row["created_at"]
    return Record(
        base=UUID(str(row["base"])),
        fingerprint=row["fingerprint"],
        created_at=created,
        lease_until=row["lease_until"],
        answer=row["answer"],
        status=row["status"],
    )
