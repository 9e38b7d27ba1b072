"""Settle: cancels, claims and the answers to questions."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from mailwarren.contracts.events import Cancel
from mailwarren.contracts.settle import Answer, Question
from mailwarren.tracker.adapters.emails import EARLY_CANCELS
from mailwarren.tracker.adapters.rows import columns
from mailwarren.tracker.domain.settle import Claim, Terms, judge
from mailwarren.tracker.domain.status import Status

if TYPE_CHECKING:
    from asyncpg import Connection, Record

Claimed = tuple[UUID, int]
"""What a claim is on: a delivery, and the number of the attempt to be made."""

_CANCEL = """
UPDATE emails e SET cancel_requested_at = least(e.cancel_requested_at, to_timestamp(t.at))
FROM unnest($1::uuid[], $2::uuid[], $3::float8[]) AS t (email_id, tenant, at)
WHERE e.id = t.email_id AND e.tenant = t.tenant
RETURNING e.id
"""

_EARLY = """
INSERT INTO cancels (email_id, tenant, at)
SELECT email_id, tenant, to_timestamp(at)
FROM unnest($1::uuid[], $2::uuid[], $3::float8[]) AS t (email_id, tenant, at)
ON CONFLICT DO NOTHING
"""

_CANCELED = """
SELECT d.id FROM deliveries d
LEFT JOIN emails e ON e.id = d.email_id
LEFT JOIN cancels c ON c.email_id = d.email_id AND c.tenant = d.tenant
WHERE d.id = ANY($1::uuid[]) AND (e.cancel_requested_at IS NOT NULL OR c.email_id IS NOT NULL)
"""

_CLAIMS = """
SELECT c.delivery_id, c.attempt, c.asker, c.turn, c.count, c.question, extract(epoch FROM c.at)::float8, c.contested
FROM claims c JOIN unnest($1::uuid[], $2::int4[]) AS t (delivery_id, attempt) USING (delivery_id, attempt)
ORDER BY c.delivery_id, c.attempt
FOR UPDATE OF c
"""

_CLAIM = """
INSERT INTO claims (delivery_id, attempt, asker, turn, count, question, at, contested)
SELECT delivery_id, attempt, asker, turn, count, question, to_timestamp(at), contested
FROM unnest($1::uuid[], $2::int4[], $3::uuid[], $4::int4[], $5::int4[], $6::uuid[], $7::float8[], $8::bool[])
  AS t (delivery_id, attempt, asker, turn, count, question, at, contested)
ORDER BY delivery_id, attempt
ON CONFLICT (delivery_id, attempt) DO UPDATE
  SET asker = excluded.asker, turn = excluded.turn, count = excluded.count, question = excluded.question,
      at = excluded.at, contested = excluded.contested
"""


async def write_cancels(connection: "Connection[Record]", cancels: Sequence[Cancel]) -> None:
    """Note on emails that a person has withdrawn them.

    A cancel may overtake the acceptance of its email. It is kept then, and the insert of the email takes it over.
    The lock sees to it that one of the two sees the other.
    """
    open_ = {cancel.email_id: cancel for cancel in cancels}
    await _note(connection, open_)
    if open_:
        await connection.execute("SELECT pg_advisory_xact_lock($1)", EARLY_CANCELS)
        await _note(connection, open_)
        if open_:
            await connection.execute(_EARLY, *_rows(open_))


async def _note(connection: "Connection[Record]", cancels: dict[UUID, Cancel]) -> None:
    """Note those whose email is stored, and take them out of ``cancels``."""
    for row in await connection.fetch(_CANCEL, *_rows(cancels)):
        cancels.pop(row[0], None)


def _rows(cancels: Mapping[UUID, Cancel]) -> list[list[object]]:
    return columns(((c.email_id, c.tenant, c.at) for c in cancels.values()), 3)


async def answer(
    connection: "Connection[Record]", questions: Sequence[Question], known: Mapping[UUID, Status], terms: Terms
) -> list[tuple[Question, Answer]]:
    """Answer the questions one after another, and write their claims.

    Args:
        connection: inside of the transaction in which everything before the questions was written.
        questions: in the order in which they stood in their partitions.
        known: the status of each delivery in question that is stored, after everything before.
        terms: how long askers listen and claims last.
    """
    wanted: list[Claimed] = [(ident, q.attempt) for q in questions for ident in q.deliveries]
    canceled = {row[0] for row in await connection.fetch(_CANCELED, [ident for ident, _ in wanted])}
    rows = await connection.fetch(_CLAIMS, *columns(set(wanted), 2))
    claims: dict[Claimed, Claim] = {(row[0], row[1]): Claim(*row[2:]) for row in rows}
    written: dict[Claimed, Claim] = {}
    now = time.time()
    answers = []
    for question in questions:
        verdicts = []
        for ident in question.deliveries:
            key = (ident, question.attempt)
            verdict, claim = judge(
                question, known.get(ident), claims.get(key), canceled=ident in canceled, now=now, terms=terms
            )
            verdicts.append(verdict)
            if claim is not None:
                claims[key] = written[key] = claim
        answers.append((question, Answer(question.id, tuple(verdicts))))
    if written:
        keyed = ((*key, *msgspec.structs.astuple(claim)) for key, claim in written.items())
        await connection.execute(_CLAIM, *columns(keyed, 8))
    return answers
