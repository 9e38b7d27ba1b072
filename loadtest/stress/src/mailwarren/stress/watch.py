"""Watches a system five times a second while a load runs: queue depths, CPU by process, mails recorded.

It runs in a thread of the client's process; what it costs is counted apart from the client.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import httpx
import psutil
import psycopg
from kombu import Connection

from mailwarren.store.states import ENDS

EVERY = 0.2
_METRICS_EVERY = 5
"""Samples between two looks at the senders' metrics, which cost a sender some milliseconds each."""
_TICKS = os.sysconf("SC_CLK_TCK")
_IN_FLIGHT = re.compile(r"^mailwarren_sender_in_flight ([0-9.e+]+)$", re.MULTILINE)
_COUNTS = (
    "select coalesce(sum(count) filter (where kind = 'accepted'), 0)::bigint,"  # noqa: S608 - constants
    f" coalesce(sum(count) filter (where kind in ({', '.join(repr(one.value) for one in sorted(ENDS))})), 0)::bigint"
    " from stats_minute"
)


class Machine(NamedTuple):
    """Seconds of all cores since the machine started."""

    busy: float
    stolen: float


class Sample(NamedTuple):
    """One look. Counts of mails are since the watch began, CPU is seconds since each process started."""

    at: float
    queued: int
    recorded: int
    ended: int
    cpu: dict[str, float]
    machine: Machine
    in_flight: float


def machine() -> Machine:
    """All cores together, as the kernel counts."""
    times = psutil.cpu_times()
    stolen = float(getattr(times, "steal", 0.0))
    return Machine(sum(times) - times.idle - getattr(times, "iowait", 0.0) - stolen - times.guest, stolen)


def process_seconds(pid: int) -> float:
    """User and system seconds of one process, without its children; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def with_children(groups: Mapping[str, Iterable[int]]) -> dict[str, list[int]]:
    """Each process of some groups under a name of its own, as its children are now: ``sender 1``, ``sender 2``."""
    named: dict[str, list[int]] = {}
    for part, pids in groups.items():
        family = [one.pid for pid in pids for one in (psutil.Process(pid), *psutil.Process(pid).children(True))]
        if part in {"broker", "postgres"}:  # these use several cores by themselves: what counts is their sum
            named[part] = family
        else:
            named |= {part if len(family) == 1 else f"{part} {place}": [pid] for place, pid in enumerate(family, 1)}
    return named


class Watch:
    """A context manager around one load.

    Args:
        processes: process ids by the name to show.
        amqp_url: with ``queues``, the names whose ready messages are counted together.
        database_url: of the ledger; None for those that have none.
        metrics: URLs of the senders' metrics.
    """

    def __init__(
        self,
        processes: Mapping[str, Sequence[int]],
        *,
        amqp_url: str = "",
        queues: Sequence[str] = (),
        database_url: str | None = None,
        metrics: Sequence[str] = (),
    ) -> None:
        self._processes = processes
        self._amqp_url, self._queues = amqp_url, queues
        self._database_url = database_url and f"postgresql://{database_url.partition('://')[2]}"
        self._metrics = metrics
        self._samples: list[Sample] = []
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self.cpu_seconds = 0.0
        """What watching has cost."""

    @property
    def samples(self) -> list[Sample]:
        """All so far."""
        return list(self._samples)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(30)
        self.check()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(10)
        if kind is None:
            self.check()

    def check(self) -> None:
        """Raise what stopped the watch."""
        if self._error is not None:
            raise self._error

    def wait(self, reached: Callable[[Sample], bool], until: float) -> bool:
        """Whether a sample fits before the Unix time ``until``."""
        while time.time() < until:
            self.check()
            if self._samples and reached(self._samples[-1]):
                return True
            time.sleep(EVERY / 4)
        return False

    def _run(self) -> None:
        try:
            self._look()
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self._error = error
        finally:
            self._ready.set()

    def _look(self) -> None:
        rows = psycopg.connect(self._database_url, autocommit=True) if self._database_url else None
        broker = Connection(self._amqp_url) if self._queues else None
        with httpx.Client(timeout=2.0) as http:
            try:
                recorded, ended = self._counts(rows)
                in_flight, turn = 0.0, 0
                while not self._stop.is_set():
                    began = time.time()
                    if turn % _METRICS_EVERY == 0:
                        in_flight = sum(_in_flight(http, url) for url in self._metrics)
                    now = self._counts(rows)
                    self._samples.append(
                        Sample(
                            at=began,
                            queued=self._queued(broker),
                            recorded=now[0] - recorded,
                            ended=now[1] - ended,
                            cpu={name: sum(map(process_seconds, pids)) for name, pids in self._processes.items()},
                            machine=machine(),
                            in_flight=in_flight,
                        )
                    )
                    self.cpu_seconds = time.thread_time()
                    self._ready.set()
                    turn += 1
                    self._stop.wait(max(0.0, began + EVERY - time.time()))
            finally:
                if rows is not None:
                    rows.close()
                if broker is not None:
                    broker.release()

    def _queued(self, broker: Connection | None) -> int:
        if broker is None:
            return 0
        channel = broker.default_channel
        return sum(channel.queue_declare(queue=name, passive=True).message_count for name in self._queues)

    @staticmethod
    def _counts(rows: "psycopg.Connection[tuple[int, int]] | None") -> tuple[int, int]:
        found = rows.execute(_COUNTS).fetchone() if rows is not None else None
        return found or (0, 0)


def _in_flight(http: httpx.Client, url: str) -> float:
    try:
        found = _IN_FLIGHT.search(http.get(url).text)
    except httpx.HTTPError:
        return 0.0
    return float(found[1]) if found else 0.0


def plateau(samples: Sequence[Sample], begin: float, end: float) -> tuple[Sample, Sample] | None:
    """The samples around the middle of a load, without its start and its end; None of too few."""
    inside = [one for one in samples if begin <= one.at <= end]
    first, last = len(inside) // 5, len(inside) - len(inside) // 5 - 1
    return (inside[first], inside[last]) if last > first else None


def cores_used(samples: Sequence[Sample], begin: float, end: float) -> tuple[dict[str, float], float, float]:
    """Cores used on average in the plateau: by process, by the whole machine, and stolen by its host."""
    edges = plateau(samples, begin, end)
    if edges is None:
        return {}, 0.0, 0.0
    first, last = edges
    took = last.at - first.at
    by_process = {name: (last.cpu[name] - first.cpu[name]) / took for name in first.cpu}
    busy, stolen = (after - before for before, after in zip(first.machine, last.machine, strict=True))
    return by_process, busy / took, stolen / took
