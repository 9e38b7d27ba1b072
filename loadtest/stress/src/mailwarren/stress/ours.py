"""One cell of Mailwarren itself: post, watch, wait until the last mail has its end, compare the ledger."""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

import msgspec
import psutil
from kombu import Connection

from mailwarren.bench.http_client import Posted
from mailwarren.bench.ours import post
from mailwarren.bench.stand import Stand
from mailwarren.contracts.topology import Topology
from mailwarren.devstack.harness.counts import DELIVERED, Promise
from mailwarren.devstack.harness.system import System
from mailwarren.stress.account import Entry, differences
from mailwarren.stress.grid import Cell
from mailwarren.stress.progress import Progress
from mailwarren.stress.result import Outcome, in_system, spread, sustained
from mailwarren.stress.script import personas
from mailwarren.stress.watch import Sample, Watch, cores_used, plateau, with_children
from mailwarren.stress.work import calls

POINTS = 48
"""Of a curve in the report."""
_MOMENTS = 400
"""At which :func:`waiting_only` looks."""
_DRAIN_SECONDS = 180.0
"""For what is open when a cell's seconds are over and the receiver waits no more."""
_BULK_CONNECTIONS = 2
_SINGLE_CONNECTIONS = 32
_ENTRIES = """
SELECT email_id::text AS email_id, address, state, attempt, extract(epoch FROM accepted_at)::float8 AS accepted_at,
       extract(epoch FROM ended_at)::float8 AS ended_at
FROM deliveries WHERE email_id = ANY($1::uuid[])
"""
_RECORDED = "SELECT count(*) AS n FROM deliveries WHERE accepted_at >= to_timestamp($1)"
_DEFERRALS = """
SELECT delivery_id::text AS delivery, kind = 'deferred' AS deferred, extract(epoch FROM at)::float8 AS at
FROM events WHERE email_id = ANY($1::uuid[]) ORDER BY delivery_id, at
"""


def run_cell(stand: Stand, cell: Cell, tag: str, progress: Progress) -> Outcome:
    """Measure one cell on a warm system whose senders are the cell's.

    Args:
        stand: the system.
        cell: the load.
        tag: begins every address; no other cell of this system may have had it.
        progress: is told how far it is.
    """
    system = stand.system
    witness = system.sink
    if witness is None:
        raise RuntimeError("the stand has no sink")
    work = calls(cell, tag)
    witness.play(*personas(cell))
    witness.forget()
    topology = Topology(system.prefix, cell.retry_scale)
    meter = stand.meter()
    watch = Watch(
        with_children(stand.groups()),
        amqp_url=stand.amqp_url,
        queues=[topology.send_queue(lane, shard).name for lane in cell.lanes for shard in cell.shards],
        database_url=stand.database_url,
        metrics=[system.metrics_url(name) for name in system.services if name.startswith("sender")],
    )
    began_at = datetime.now(UTC)
    begin = time.time()
    with watch:
        meter.start()
        connections = _SINGLE_CONNECTIONS if cell.rate else _BULK_CONNECTIONS
        posted = post(stand, work[0][0], [body for _, body in work], connections=connections, rate=cell.rate)
        promises = read_promises(posted, work)
        whole = watch.wait(lambda sample: _ended(sample, cell, progress), begin + cell.seconds)
        late = 0 if whole else cell.mails - watch.samples[-1].ended
        if late:
            witness.play()
            watch.wait(lambda sample: _ended(sample, cell, progress), time.time() + _DRAIN_SECONDS)
        cpu = meter.read(cell.mails)
    cpu["watch"] = watch.cpu_seconds / cell.mails * 1e6
    cpu["client"] -= cpu["watch"]
    ids = [promise.email_id for promise in promises]
    entries = [Entry(**dict(row)) for row in system.query(_ENTRIES, ids)]
    (recorded,) = system.query(_RECORDED, begin)
    wrong = differences(
        promises,
        entries,
        witness.pairs(),
        witness.stats(),
        asked=cell.mails,
        recorded=recorded["n"],
        left=left_ready(stand, topology),
    )
    outcome = _measured(cell, begin, posted, entries, watch.samples)
    outcome.began = began_at.isoformat(timespec="seconds")
    outcome.open, outcome.cpu, outcome.differences = late, cpu, wrong
    if cell.deferred:
        outcome.waiting_only = waiting_only(entries, _deferred(system, ids))
    return outcome


def read_promises(posted: Sequence[Posted], work: Sequence[tuple[str, bytes]]) -> list[Promise]:
    """The ids in the API's answers."""
    found = []
    for one, (_, body) in zip(posted, work, strict=True):
        answer = msgspec.json.decode(one.body)
        rows = answer["data"] if "data" in answer else [{"id": answer["id"], "to": msgspec.json.decode(body)["to"]}]
        found += [System.promise(row["id"], row["to"]) for row in rows]
    return found


def left_ready(stand: Stand, topology: Topology) -> dict[str, int]:
    """Messages that wait in any queue for mail, by name, the empty ones left out."""
    names = [
        queue.name
        for queue in topology.all_queues
        if topology.holds_work(queue.name) and queue.name != topology.ops_queue.name
    ]
    with Connection(stand.amqp_url) as connection:
        channel = connection.default_channel
        counts = {name: channel.queue_declare(queue=name, passive=True).message_count for name in names}
    return {name: count for name, count in counts.items() if count}


def waiting_only(entries: Sequence[Entry], waits: Sequence[tuple[float, float]]) -> float:
    """Share of the time from the first acceptance to the last end in which all open mails waited for another try."""
    begins = [one.accepted_at for one in entries]
    ends = [one.ended_at for one in entries if one.ended_at]
    if not ends:
        return 0.0
    first, last = min(begins), max(ends)
    moments = [first + (last - first) * place / _MOMENTS for place in range(_MOMENTS)]
    opened = in_system(begins, ends, moments)
    waiting = in_system([one for one, _ in waits], [one for _, one in waits], moments)
    return sum(0 < all_open <= wait for all_open, wait in zip(opened, waiting, strict=True)) / _MOMENTS


def _deferred(system: System, ids: Sequence[str]) -> list[tuple[float, float]]:
    """From each deferral to what happened next to its delivery."""
    rows = system.query(_DEFERRALS, ids)
    pairs = pairwise(rows)
    return [(one["at"], then["at"]) for one, then in pairs if one["deferred"] and one["delivery"] == then["delivery"]]


def _ended(sample: Sample, cell: Cell, progress: Progress) -> bool:
    progress.within(sample.ended, cell.mails)
    return min(sample.recorded, sample.ended) >= cell.mails


def _measured(
    cell: Cell, begin: float, posted: Sequence[Posted], entries: Sequence[Entry], samples: Sequence[Sample]
) -> Outcome:
    start = min(one.started_at for one in posted)
    done = [one for one in entries if one.ended_at is not None]
    ends = [one.ended_at for one in done if one.ended_at is not None]
    end = max(ends, default=begin)
    busy, whole, stolen = cores_used(samples, start, end)
    edges = plateau(samples, start, end)
    held = [one.in_flight for one in samples if edges and edges[0].at <= one.at <= edges[1].at]
    outcome = Outcome(
        cell=cell,
        began="",
        seconds=end - start,
        accept_seconds=max(one.answered_at for one in posted) - start,
        delivered=sum(one.state == DELIVERED for one in done),
        refused=sum(one.state != DELIVERED for one in done),
        completion=spread([one.ended_at - one.accepted_at for one in done if one.ended_at is not None]),
        accept=spread([one.seconds for one in posted]),
        attempts={str(tries): count for tries, count in sorted(Counter(one.attempt for one in done).items())},
        sustained=sustained(ends),
        busy=busy,
        machine=whole,
        stolen=stolen,
        cores=psutil.cpu_count() or 1,
        in_flight=sum(held) / len(held) if held else 0.0,
    )
    outcome.curve = curve([one.accepted_at for one in entries], ends, samples, start, end)
    return outcome


def curve(
    begins: Sequence[float], ends: Sequence[float], samples: Sequence[Sample], start: float, end: float
) -> list[tuple[float, int, int]]:
    """Seconds since the start, mails in the system, messages ready in the queues when last seen."""
    moments = [start + (end - start) * place / POINTS for place in range(POINTS + 1)]
    queued, seen = [], iter(samples)
    last, ahead = 0, next(seen, None)
    for moment in moments:
        while ahead is not None and ahead.at <= moment:
            last, ahead = ahead.queued, next(seen, None)
        queued.append(last)
    inside = in_system(begins, ends, moments)
    return [(round(at - start, 3), one, ready) for at, one, ready in zip(moments, inside, queued, strict=True)]
