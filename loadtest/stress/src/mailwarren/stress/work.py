"""The mails of a cell: the bench's, to addresses whose domains lead into exactly the cell's queues."""

from collections.abc import Iterator, Sequence
from functools import cache

from mailwarren.bench.ours import bulk_bodies, single_bodies
from mailwarren.bench.work import Recipient, make_work
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shards import SHARDS, shard_of
from mailwarren.stress.grid import Cell

ROWS = 2_500
"""Recipients of one bulk call."""
_PARCELS = 8
"""Of each queue for each sender, at least, where the receiver is slow."""
DOMAINS = 4
"""Of each hashed shard."""
_PROVIDERS = {
    "google": ("gmail.com", "googlemail.com"),
    "microsoft": ("outlook.com", "hotmail.com", "live.com", "msn.com"),
    "yahoo": ("yahoo.com", "ymail.com", "aol.com", "rocketmail.com"),
    "apple": ("icloud.com", "me.com", "mac.com"),
}
Call = tuple[str, bytes]
"""Path and body."""


@cache
def domains_of(shard: str) -> tuple[str, ...]:
    """Some domains that this shard is for."""
    if shard in _PROVIDERS:
        return _PROVIDERS[shard]
    if shard not in SHARDS:
        raise ValueError(f"no such shard: {shard}")
    found: list[str] = []
    for number in range(10_000):
        domain = f"d{number}.test"
        if shard_of(domain) == shard:
            found.append(domain)
        if len(found) == DOMAINS:
            break
    return tuple(found)


def recipients(cell: Cell, tag: str) -> dict[Lane, list[Recipient]]:
    """Who gets mail, by lane: one after the other into each queue, and no address twice for different tags."""
    queues = [(lane, shard) for shard in cell.shards for lane in cell.lanes]
    found: dict[Lane, list[Recipient]] = {lane: [] for lane in cell.lanes}
    for number, one in enumerate(make_work(cell.mails, tag=tag)):
        lane, shard = queues[number % len(queues)]
        domains = domains_of(shard)
        local = one.to.partition("@")[0]
        found[lane].append(Recipient(f"{local}@{domains[number // len(queues) % len(domains)]}", one.variables))
    return found


def calls(cell: Cell, tag: str) -> list[Call]:
    """What to post: bulk calls, the lanes in turn; single posts where the cell has a rate."""
    chosen = recipients(cell, tag)
    if cell.rate:
        singles = [[("/emails", body) for body in single_bodies(work, lane)] for lane, work in chosen.items()]
        return list(_in_turn(singles))
    rows = rows_of(cell)
    bulks = [[("/emails/bulk", body) for body in bulk_bodies(work, lane, rows)] for lane, work in chosen.items()]
    return list(_in_turn(bulks))


def rows_of(cell: Cell) -> int:
    """Recipients of one bulk call of this cell.

    A call makes parcels of up to fifty for each queue, and a parcel is one sender's. Few mails in large parcels would
    leave one sender's connections idle while another has mail left: where mails take long, calls are smaller.
    """
    if not cell.latency_ms:
        return ROWS
    parcel = max(1, cell.mails // cell.queues // (_PARCELS * cell.senders))
    return min(ROWS, parcel * len(cell.shards))


def everyone(cell: Cell, tag: str) -> list[Recipient]:
    """The same people for who knows no lanes."""
    plain = cell if cell.queues else type(cell)(row=cell.row, senders=cell.senders, queues=1, mails=cell.mails)
    return [one for work in recipients(plain, tag).values() for one in work]


def _in_turn(lists: Sequence[Sequence[Call]]) -> Iterator[Call]:
    for place in range(max(map(len, lists))):
        for one in lists:
            if place < len(one):
                yield one[place]
