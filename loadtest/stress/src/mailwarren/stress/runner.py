"""Runs the cells that are not done yet: a system for those that share one, senders for those that share them."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import msgspec

from mailwarren.bench.ours import post
from mailwarren.bench.stand import Stand
from mailwarren.stress import ours, rivals
from mailwarren.stress.grid import CONNECTIONS, IN_FLIGHT, Cell, stands
from mailwarren.stress.machine import look
from mailwarren.stress.progress import Progress
from mailwarren.stress.result import Outcome
from mailwarren.stress.store import Store
from mailwarren.stress.work import calls

WARM_UP = 600
"""Mails that new senders send before the first cell: connections, templates and statements are made by them."""
_SENDER = {"MAILWARREN_CONNECTIONS": str(CONNECTIONS), "MAILWARREN_IN_FLIGHT": str(IN_FLIGHT)}


def run(store: Store, planned: Sequence[Cell], *, command: str, quick: bool) -> None:
    """Measure what is missing of ``planned``, keeping each cell as it is done."""
    done = [one.cell for one in store.outcomes(planned)]
    left = [cell for cell in planned if cell not in done]
    progress = Progress(planned, done)
    for group in stands(left):
        first = group[0]
        progress.say(f"==> starting {'Mailwarren' if first.is_ours else 'the servers of the rivals'}")
        with Stand(senders={}, env={"sender": _SENDER}, services=first.is_ours, retry_scale=first.retry_scale) as stand:
            if store.run() is None:
                store.begin(look(stand, command=command, quick=quick))
            for outcome in _ours(stand, group, progress) if first.is_ours else _rivals(stand, group, progress):
                store.keep(outcome)


def _ours(stand: Stand, group: Sequence[Cell], progress: Progress) -> Iterator[Outcome]:
    """Cells in order; those of one set of senders share it."""
    number = 0
    for _, alike in groupby(group, key=lambda cell: (cell.senders, cell.queues)):
        same = list(alike)
        stand.start_alike(same[0].senders, same[0].lanes, same[0].shards)
        _warm(stand, same[0])
        last = len(same) - 1
        for place, cell in enumerate(same):
            progress.begin(cell)
            tries = []
            for _ in range(cell.repeats):
                number += 1
                tries.append(ours.run_cell(stand, cell, f"c{number}x", progress))
            outcome = middle(tries)
            if place == last:
                # What a consumer still holds is seen only when it has ended.
                left = stand.end_senders()
                outcome.differences += [f"{count} messages are left in {name}" for name, count in left.items()]
            progress.end(outcome)
            yield outcome


def middle(tries: Sequence[Outcome]) -> Outcome:
    """The one with the middle rate, with what the ledgers of all of them found."""
    found = sorted(tries, key=lambda one: one.rate)[len(tries) // 2]
    return msgspec.structs.replace(found, differences=[line for one in tries for line in one.differences])


def _warm(stand: Stand, cell: Cell) -> None:
    few = msgspec.structs.replace(cell, mails=WARM_UP, rate=None)
    stand.sink.forget()
    if stand.system.sink:
        stand.system.sink.play()
    before = stand.ended()
    for path, body in calls(few, f"warm{cell.ident.replace('-', '')}x"):
        post(stand, path, [body], connections=1)
    stand.wait_ended(before + WARM_UP)


def _rivals(stand: Stand, group: Sequence[Cell], progress: Progress) -> Iterator[Outcome]:
    for cell in group:
        if why := rivals.why_missing(cell):
            progress.skip(cell, why)
            continue
        progress.begin(cell)
        outcome = rivals.run_cell(stand, cell, progress)
        progress.end(outcome)
        yield outcome
