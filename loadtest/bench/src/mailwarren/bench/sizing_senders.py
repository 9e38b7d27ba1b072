"""What one sender process and one tracker process take on: rates, CPU and memory by how fast servers reply."""

import threading
import time
from collections.abc import Sequence

import msgspec
import psutil

from mailwarren.bench.cpu import cpu_seconds
from mailwarren.bench.ours import bulk_bodies, post
from mailwarren.bench.stand import Stand
from mailwarren.bench.work import make_work
from mailwarren.contracts.lanes import Lane

NAME = "sender-bulk"
WARM_UP = 3_000
FROM, TO = 0.2, 0.9
"""The share of the mails between which the rate is taken: neither the first connections nor the last replies."""
PATIENCE = 180.0


class Cell(msgspec.Struct, frozen=True):
    """One measurement of a sender."""

    latency_ms: int
    """From the final dot to its reply."""
    connections: int
    mails: int
    """So many that it takes about 15 seconds on two cores."""


CELLS = (
    Cell(0, 20, 50_000),
    Cell(20, 100, 45_000),
    Cell(50, 200, 40_000),
    Cell(200, 500, 30_000),
    Cell(500, 1_000, 25_000),
    Cell(1_000, 2_000, 25_000),
)


class Sized(msgspec.Struct):
    """What a sender did. CPU in microseconds a mail, memory in megabytes."""

    latency_ms: int
    connections: int
    """Allowed."""
    connected: int
    """Open at once, at most."""
    rate: float
    cpu: float
    cores: float
    """Of the sender's CPU, in use."""
    megabytes: float
    """Resident, at most."""


class Tracked(msgspec.Struct):
    """What a tracker did: mails with their acceptance and their outcome."""

    rate: float
    cpu: float
    postgres_cpu: float
    megabytes: float


def warm_up(stand: Stand) -> None:
    """Compiled statements and templates, the API's and the tracker's: not of the measurement."""
    stand.system.start_sender(NAME, (Lane.BULK,))
    post(stand, "/emails/bulk", bulk_bodies(make_work(WARM_UP)), connections=1)
    stand.sink.wait_for(WARM_UP)
    stand.system.services[NAME].stop()


def measure_sender(stand: Stand, cell: Cell, scale: float = 1.0) -> Sized:
    """A fresh sender with ``cell.connections`` to a sink that replies after ``cell.latency_ms``."""
    count = max(int(cell.mails * scale), 5 * cell.connections)
    stand.sink.forget()
    if stand.system.sink:
        stand.system.sink.play({"domains": ["*"], "dot_latency_ms": cell.latency_ms})
    env = {
        "MAILWARREN_CONNECTIONS": str(cell.connections),
        "MAILWARREN_IN_FLIGHT": str(max(500, 2 * cell.connections)),
        "MAILWARREN_MESSAGES_PER_CONNECTION": "1000",
    }
    sender = stand.system.start_sender(NAME, (Lane.BULK,), env=env)
    try:
        process = psutil.Process(sender.pid)
        watched = _Watched(process, int(stand.sink.smtp_address.rpartition(":")[2]))
        posting = threading.Thread(
            target=post, args=(stand, "/emails/bulk", bulk_bodies(make_work(count))), kwargs={"connections": 1}
        )
        posting.start()
        begin, first, spent = _wait_for(stand, count * FROM, process, watched)
        end, last, spent_then = _wait_for(stand, count * TO, process, watched)
        posting.join()
        stand.sink.wait_for(count)
    finally:
        sender.stop()
    seconds, mails = end - begin, last - first
    used = spent_then - spent
    return Sized(
        latency_ms=cell.latency_ms,
        connections=cell.connections,
        connected=watched.connected,
        rate=mails / seconds,
        cpu=used / mails * 1e6,
        cores=used / seconds,
        megabytes=watched.megabytes,
    )


class _Watched:
    """The most that was seen of a sender."""

    def __init__(self, process: psutil.Process, port: int) -> None:
        self._process = process
        self._port = port
        self._looked = 0.0
        self.connected = 0
        self.megabytes = 0.0

    def look(self) -> None:
        # Rarely: the kernel's list of a thousand connections costs CPU that the sender would use.
        if time.monotonic() < self._looked + 2:
            return
        self._looked = time.monotonic()
        links = self._process.net_connections(kind="tcp4")
        open_now = sum(one.status == psutil.CONN_ESTABLISHED and one.raddr[1] == self._port for one in links)
        self.connected = max(self.connected, open_now)
        self.megabytes = max(self.megabytes, self._process.memory_info().rss / 1e6)


def _wait_for(stand: Stand, count: float, process: psutil.Process, watched: _Watched) -> tuple[float, int, float]:
    """When the sink had ``count`` mails, how many it had then, and the sender's CPU seconds until then."""
    deadline = time.monotonic() + PATIENCE
    while (got := stand.sink.accepted()) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the sink has {got} of {count:.0f} mails after {PATIENCE:.0f} s")
        watched.look()
        time.sleep(0.05)
    return time.monotonic(), got, cpu_seconds([process.pid])


def measure_tracker(stand: Stand, scale: float = 1.0) -> Tracked:
    """The rate at which a tracker records mails that were accepted and delivered while there was none."""
    count = max(int(60_000 * scale), 200)
    stand.sink.forget()
    if stand.system.sink:
        stand.system.sink.play({"domains": ["*"]})
    stand.system.services["tracker"].stop()
    sender = stand.system.start_sender(NAME, (Lane.BULK,))
    post(stand, "/emails/bulk", bulk_bodies(make_work(count)), connections=1)
    stand.sink.wait_for(count)
    sender.stop()
    before = stand.ended()
    tracker = stand.system.start_tracker(wait=False)
    postgres = stand.postgres_pids
    begin, first = _wait_ended(stand, before + count * 0.1)
    spent, spent_postgres = cpu_seconds([tracker.pid]), cpu_seconds(postgres)
    end, last = _wait_ended(stand, before + count)
    mails = last - first
    return Tracked(
        rate=mails / (end - begin),
        cpu=(cpu_seconds([tracker.pid]) - spent) / mails * 1e6,
        postgres_cpu=(cpu_seconds(postgres) - spent_postgres) / mails * 1e6,
        megabytes=stand.memory("tracker"),
    )


def _wait_ended(stand: Stand, count: float) -> tuple[float, int]:
    deadline = time.monotonic() + PATIENCE
    while (got := stand.ended()) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the tables have {got} of {count:.0f} mails after {PATIENCE:.0f} s")
        time.sleep(0.02)
    return time.monotonic(), got


def sender_table(rows: Sequence[Sized]) -> str:
    """Markdown."""
    head = (
        "| reply after | connections allowed | open | mails/s | CPU a mail | cores used | memory |\n"
        "|---|---|---|---|---|---|---|"
    )
    lines = [
        f"| {one.latency_ms} ms | {one.connections:,} | {one.connected:,} | {one.rate:,.0f} | {one.cpu:.0f} µs "
        f"| {one.cores:.2f} | {one.megabytes:.0f} MB |"
        for one in rows
    ]
    return "\n".join([head, *lines])


def tracker_line(found: Tracked) -> str:
    """A sentence."""
    return (
        f"One tracker process: {found.rate:,.0f} mails/s, {found.cpu:.0f} µs of its CPU and {found.postgres_cpu:.0f} "
        f"µs of Postgres' a mail, {found.megabytes:.0f} MB."
    )
