"""Posts a mail for every recipient, all lanes at once, each in the way that an application would choose for it.

High: one call a mail. Normal: permissive batches of a hundred. Bulk: one template for a thousand recipients.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.demo.answers import OK, Reader, Said, read_answer, read_batch, read_bulk, read_single
from mailwarren.devstack.demo.client import ApiClient, NoAnswer
from mailwarren.devstack.demo.ledger import Accepted
from mailwarren.devstack.demo.mails import receipt_mail, renewal_mail, sign_in_mail
from mailwarren.devstack.demo.recipients import Recipient

BATCH = 100
BULK = 1_000
CALLS = {Lane.HIGH: 32, Lane.NORMAL: 4, Lane.BULK: 2}
"""Calls in flight, by lane."""
LOOKS = 10
"""How often a call that reports errors is made again before its errors are believed."""
_PERMISSIVE = {"x-batch-validation": "permissive"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that the API did not take, with the API's own words; or one that it gave no answer for."""

    row: int
    lane: Lane
    message: str


@dataclass(slots=True)
class Posted:
    """What the API answered so far: the client's own count. Times are Unix seconds."""

    accepted: list[Accepted] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    unanswered: list[Refused] = field(default_factory=list)
    spans: dict[Lane, tuple[float, float]] = field(default_factory=dict)
    """First call and last answer, by lane."""

    @property
    def rows(self) -> set[int]:
        """Rows that were posted."""
        accepted = {one.row for one in self.accepted}
        return accepted | {one.row for rows in (self.refused, self.unanswered) for one in rows}

    def counted(self, lane: Lane) -> int:
        """Rows of a lane that the API has said something about, or nothing for too long."""
        return sum(item.lane is lane for rows in (self.accepted, self.refused, self.unanswered) for item in rows)


class Poster:
    """Posts for one run.

    Args:
        api: the client.
        run: names the run in Idempotency-Keys and metadata.
    """

    def __init__(self, api: ApiClient, run: str) -> None:
        self._api = api
        self._run = run
        self.posted = Posted()

    async def post_all(self, recipients: Iterable[Recipient]) -> Posted:
        """Post for every recipient; returns when the last call has its answer.

        Raises:
            DevstackError: the key is refused, or an answer cannot be read.
        """
        rows: dict[Lane, list[Recipient]] = {lane: [] for lane in Lane}
        for recipient in recipients:
            rows[recipient.lane].append(recipient)
        await _all(
            [
                self._lane(Lane.HIGH, [[one] for one in rows[Lane.HIGH]], self.post_single),
                self._lane(Lane.NORMAL, list(_chunks(rows[Lane.NORMAL], BATCH)), self._post_batch),
                self._lane(Lane.BULK, list(_bulk_calls(rows[Lane.BULK])), self._post_bulk),
            ]
        )
        return self.posted

    async def post_single(self, recipients: Sequence[Recipient]) -> None:
        """One recipient, one call."""
        (recipient,) = recipients
        body = sign_in_mail(recipient, self._run, _now())
        await self._call("/emails", body, recipients, f"one-{recipient.row}", read_single)

    async def _post_batch(self, recipients: Sequence[Recipient]) -> None:
        body = [receipt_mail(recipient, self._run, _now()) for recipient in recipients]
        await self._call("/emails/batch", body, recipients, f"batch-{recipients[0].row}", read_batch)

    async def _post_bulk(self, recipients: Sequence[Recipient]) -> None:
        body = renewal_mail(recipients, self._run, _now())
        await self._call("/emails/bulk", body, recipients, f"bulk-{recipients[0].row}", read_bulk)

    async def _lane(
        self, lane: Lane, calls: Sequence[Sequence[Recipient]], post: Callable[[Sequence[Recipient]], Awaitable[None]]
    ) -> None:
        begun = time.time()
        waiting = iter(calls)

        async def work() -> None:
            for recipients in waiting:
                await post(recipients)
                self.posted.spans[lane] = (begun, time.time())

        await _all([work() for _ in range(CALLS[lane])])

    async def _call(
        self,
        path: str,
        body: object,
        recipients: Sequence[Recipient],
        name: str,
        read: Reader,
    ) -> None:
        """Make a call until its answer is final, and note what it says about each of its recipients."""
        headers = _PERMISSIVE if path == "/emails/batch" else None
        key = f"demo-{self._run}-{name}"
        try:
            answer = await self._api.post(path, body, key, headers)
            for look in range(LOOKS):
                said = read_answer(read, answer, len(recipients), path)
                if not said.problems or answer.replayed or answer.status not in OK:
                    break
                await asyncio.sleep(0.5 * look)
                answer = await self._api.post(path, body, key, headers)
        except NoAnswer as error:
            self.posted.unanswered += [Refused(one.row, one.lane, str(error)) for one in recipients]
            return
        self._note(recipients, said)

    def _note(self, recipients: Sequence[Recipient], said: Said) -> None:
        for place, recipient in enumerate(recipients):
            if ident := said.ids.get(place):
                accepted = Accepted(ident, recipient.row, recipient.lane, recipient.envelope)
                self.posted.accepted.append(accepted)
            else:
                words = said.problems.get(place, "the API's answer does not mention this row")
                self.posted.refused.append(Refused(recipient.row, recipient.lane, words))


def _bulk_calls(recipients: Iterable[Recipient]) -> Iterator[list[Recipient]]:
    """Calls of one expiry each, because a bulk call has one; those that expire first go first."""
    groups: dict[int | None, list[Recipient]] = {}
    for recipient in recipients:
        groups.setdefault(recipient.expires_in, []).append(recipient)
    for expiry in sorted(groups, key=lambda seconds: math.inf if seconds is None else seconds):
        yield from _chunks(groups[expiry], BULK)


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


async def _all(work: Iterable[Awaitable[None]]) -> None:
    """Everything side by side; the first error ends the rest and is the one that is raised."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _now() -> datetime:
    return datetime.now(UTC)
