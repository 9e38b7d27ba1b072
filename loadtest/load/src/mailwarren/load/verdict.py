"""What an answer of the API means. Pure: status, headers and body in, a verdict out; every answer is checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

import msgspec

MOST_WAIT = 10.0
"""Seconds at most between two tries, whatever Retry-After says."""
NO_ANSWER = 0
"""The status of a call whose connection was lost."""
_PRESSURE = frozenset({NO_ANSWER, 429, 502, 503, 504})
_CONFLICT = 409


class Form(StrEnum):
    """The three kinds of posting calls; the value is the path below ``/v1``."""

    SINGLE = "/emails"
    BATCH = "/emails/batch"
    BULK = "/emails/bulk"

    @property
    def yes(self) -> int:
        """The status of a yes."""
        return 202 if self is Form.BULK else 200


@dataclass(frozen=True, slots=True)
class Accepted:
    """The yes to a call: its ids, by the place of the recipient in the call. Never with a place left out."""

    ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Again:
    """No final answer: make the same call again after ``wait`` seconds.

    ``status`` is 0 for a lost connection; ``ids`` are those that were accepted already.
    """

    status: int
    wait: float
    reason: str = ""
    ids: dict[int, UUID] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wrong:
    """An answer that the call should not have had; ``ids`` are those that it accepted all the same."""

    reason: str
    ids: dict[int, UUID] = field(default_factory=dict)


Verdict = Accepted | Again | Wrong


class _Id(msgspec.Struct):
    id: UUID


class _Problem(msgspec.Struct):
    index: int
    message: str


class _BatchAnswer(msgspec.Struct):
    data: list[_Id]
    errors: list[_Problem] = []


class _BulkRow(msgspec.Struct):
    index: int
    id: UUID
    to: str


class _BulkAnswer(msgspec.Struct):
    data: list[_BulkRow]
    errors: list[_Problem] = []


class _ErrorBody(msgspec.Struct):
    message: str
    name: str


def judge(form: Form, status: int, headers: Mapping[str, str], body: bytes, addresses: Sequence[str]) -> Verdict:
    """Judge the answer to one try of a posting call.

    Args:
        form: the kind of call.
        status: of the answer; 0 when there was none.
        headers: with names in lower case.
        body: of the answer.
        addresses: whom the call was for, in its order.
    """
    if again := pressure(status, headers):
        return again
    if status != form.yes:
        return Wrong(f"status {status}: {message_of(body)}")
    try:
        ids, problems = _read(form, body, addresses)
    except (msgspec.DecodeError, ValueError, IndexError) as error:
        return Wrong(f"a {status} that cannot be read: {error}")
    return _judge_rows(status, headers, ids, problems, addresses)


def _judge_rows(
    status: int, headers: Mapping[str, str], ids: dict[int, UUID], problems: dict[int, str], addresses: Sequence[str]
) -> Verdict:
    if problems:
        # Rows that the broker did not confirm. A replayed answer is final, any other is worth asking for again.
        first = next(iter(problems.values()))
        if headers.get("idempotent-replayed") == "true":
            return Wrong(f"{len(problems)} of {len(addresses)} rows refused: {first}", ids)
        return Again(status, 0.5, first, ids)
    missing = len(addresses) - len(set(ids.values()))
    if missing:
        return Wrong(f"{missing} of {len(addresses)} recipients have no id of their own", ids)
    return Accepted(tuple(ids[place] for place in range(len(addresses))))


def pressure(status: int, headers: Mapping[str, str]) -> Again | None:
    """What asks for patience: no room, too fast, unreachable, or an earlier try that is still being worked on."""
    in_flight = status == _CONFLICT and "retry-after" in headers
    if status not in _PRESSURE and not in_flight:
        return None
    asked = headers.get("retry-after", "")
    wait = float(asked) if asked.isascii() and asked.isdecimal() else 0.5
    return Again(status, min(wait, MOST_WAIT))


def message_of(body: bytes) -> str:
    """The ``message`` of an error body, or what there is instead."""
    try:
        return msgspec.json.decode(body, type=_ErrorBody).message
    except msgspec.DecodeError:
        return f"no error body: {body[:100].decode('utf-8', 'replace')}"


def _read(form: Form, body: bytes, addresses: Sequence[str]) -> tuple[dict[int, UUID], dict[int, str]]:
    if form is Form.SINGLE:
        return {0: msgspec.json.decode(body, type=_Id).id}, {}
    if form is Form.BATCH:
        batch = msgspec.json.decode(body, type=_BatchAnswer)
        problems = {one.index: one.message for one in batch.errors}
        places = [place for place in range(len(addresses)) if place not in problems]
        return {place: one.id for place, one in zip(places, batch.data, strict=True)}, problems
    bulk = msgspec.json.decode(body, type=_BulkAnswer)
    for row in bulk.data:
        if row.to != addresses[row.index]:
            raise ValueError(f"row {row.index} is for another address than it was asked for")
    return {row.index: row.id for row in bulk.data}, {one.index: one.message for one in bulk.errors}
