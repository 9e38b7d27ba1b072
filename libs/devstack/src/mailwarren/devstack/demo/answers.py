"""What the API's answers to the three kinds of calls say about each recipient of the call."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import msgspec

from mailwarren.devstack.demo.client import Answer
from mailwarren.devstack.errors import DevstackError

OK = frozenset({200, 202})


@dataclass(frozen=True, slots=True)
class Said:
    """What one call came to: ids and problems, both by the place in the call."""

    ids: dict[int, UUID]
    problems: dict[int, str]


Reader = Callable[[Answer, int], Said]
"""Reads a yes, given the number of recipients of the call."""


class _Id(msgspec.Struct):
    id: UUID


class _Problem(msgspec.Struct):
    index: int
    message: str


class _BulkRow(msgspec.Struct):
    index: int
    id: UUID


class _BatchAnswer(msgspec.Struct):
    data: list[_Id]
    errors: list[_Problem] = []


class _BulkAnswer(msgspec.Struct):
    data: list[_BulkRow]
    errors: list[_Problem] = []


def read_answer(read: Reader, answer: Answer, size: int, path: str) -> Said:
    """What an answer to ``path`` says about the ``size`` recipients of its call; a refusal is a problem of each.

    Raises:
        DevstackError: a yes that cannot be read.
    """
    if answer.status not in OK:
        return Said({}, dict.fromkeys(range(size), answer.message))
    try:
        return read(answer, size)
    except (msgspec.DecodeError, ValueError) as error:
        raise DevstackError(f"The API's answer to POST {path} cannot be read: {error}.") from error


def read_single(answer: Answer, _size: int) -> Said:
    """``POST /v1/emails``."""
    return Said({0: msgspec.json.decode(answer.body, type=_Id).id}, {})


def read_batch(answer: Answer, size: int) -> Said:
    """``POST /v1/emails/batch``, permissive."""
    said = msgspec.json.decode(answer.body, type=_BatchAnswer)
    problems = {problem.index: problem.message for problem in said.errors}
    # Ids stand in the order of the request, without the places that have an error.
    places = [place for place in range(size) if place not in problems]
    return Said({place: one.id for place, one in zip(places, said.data, strict=True)}, problems)


def read_bulk(answer: Answer, _size: int) -> Said:
    """``POST /v1/emails/bulk``: every row says its place."""
    said = msgspec.json.decode(answer.body, type=_BulkAnswer)
    return Said({row.index: row.id for row in said.data}, {one.index: one.message for one in said.errors})
