"""The load: bulk calls and single posts, a tenth of all in the high lane, at the pace at which mails arrive.

No call is repeated: the API is not what is hurt, and one that refuses ends the run.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.harness.counts import Promise
from mailwarren.devstack.harness.load import Traffic
from mailwarren.devstack.harness.system import System

DOMAINS = 40
SHIFT = 500
"""Mails between two looks at how far ahead of the sink we are."""
_LOOK_EVERY = 0.1
_THREADS = 4


@dataclass(frozen=True)
class Call:
    """One call: a single post when it has one address, else a bulk call."""

    lane: Lane
    addresses: tuple[str, ...]


def calls(mails: int) -> Iterator[Call]:
    """The calls for so many mails.

    Of each :data:`SHIFT` 30 are posted one by one in the high lane and 20 in the normal one; 20 more are a bulk call in
    the high lane, 130 one in the normal lane, the others one in the bulk lane.
    """
    for first in range(0, mails, SHIFT):
        people = [f"u{number}@d{number % DOMAINS}.test" for number in range(first, min(first + SHIFT, mails))]
        parts = ((Lane.HIGH, 30, 1), (Lane.NORMAL, 20, 1), (Lane.HIGH, 20, 20), (Lane.NORMAL, 130, 130))
        for lane, count, size in parts:
            taken, people = people[:count], people[count:]
            yield from (Call(lane, tuple(taken[n : n + size])) for n in range(0, len(taken), size))
        if people:
            yield Call(Lane.BULK, tuple(people))


class Posting(Traffic):
    """Posts until all mails are promised.

    Args:
        arrived: how many mails the sink has.
        ahead: mails that may be promised and not arrived.
    """

    def __init__(self, system: System, mails: int, *, arrived: Callable[[], int], ahead: int) -> None:
        super().__init__(system, "posting", endless=False)
        self._mails = mails
        self._arrived = arrived
        self._ahead = ahead

    def _make_calls(self) -> None:
        with ThreadPoolExecutor(_THREADS) as pool:
            self._post_all(pool)

    def _post_all(self, pool: ThreadPoolExecutor) -> None:
        waiting: list[Call] = []
        for call in calls(self._mails):
            waiting.append(call)
            if call.lane is Lane.BULK:
                self._shift(pool, waiting)
                waiting = []
            if self._stop.is_set():
                return
        self._shift(pool, waiting)

    def _shift(self, pool: ThreadPoolExecutor, shift: list[Call]) -> None:
        while len(self.promises) - self._arrived() > self._ahead:
            if self._stop.wait(_LOOK_EVERY):
                return
        for promised in pool.map(self._post, shift):
            self.promises += promised

    def _post(self, call: Call) -> list[Promise]:
        if len(call.addresses) > 1:
            return self._system.send_bulk(call.addresses, lane=call.lane)
        (to,) = call.addresses
        answer = self._system.send(to, priority=call.lane.value).raise_for_status()
        return [self._system.promise(answer.json()["id"], to)]
