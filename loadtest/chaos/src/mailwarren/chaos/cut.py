"""The broker's connections are cut while 150 mails are in flight: how many come twice?

Both workers hold all 150 mails at once, each at its own SMTP connection, when their connections to the broker are
reset; both connect again by themselves. *Before the dot*: the server lets them wait for its 354, so nothing has been
handed over. *After the dot*: the mail is handed over, and the server lets them wait for its reply.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from celery import Celery
from kombu import Connection
from sqlalchemy import create_engine

from mailwarren.bench.rivals import templates
from mailwarren.bench.stand import Stand
from mailwarren.bench.work import SENDER
from mailwarren.chaos.cutter import Cutter
from mailwarren.devstack.harness.service import Service
from mailwarren.devstack.harness.sink import SinkWitness
from mailwarren.devstack.harness.system import System, wait_for

MAILS = 150
WAITS = {"before the dot": "data", "after the dot": "dot"}
"""Where the server lets the mails wait, by its stage."""
SECONDS = 3.0
"""That it lets them wait."""
_QUIET = 3.0
"""Without a new copy for so long, no more come."""
_STUCK = 10.0
"""At rest for so long with mails in its queue, a worker is stuck: somebody would restart it."""
_ENOUGH = 240.0


@dataclass(frozen=True)
class Came:
    """Copies at the sink by recipient, after a cut."""

    mails: int
    copies: tuple[int, ...]
    restarts: int = 0
    """Of the worker, because it took no more mail after the cut."""

    @property
    def twice(self) -> int:
        """Recipients who got the mail more than once."""
        return sum(count > 1 for count in self.copies)

    @property
    def lost(self) -> int:
        """Recipients who did not get it."""
        return self.mails - len(self.copies)


@contextmanager
def cutter_before(amqp_url: str) -> Iterator[tuple[Cutter, str]]:
    """A cutter in front of the broker, and the URL that leads through it."""
    at = urlsplit(amqp_url)
    with Cutter(at.hostname or "127.0.0.1", at.port or 5672) as cutter:
        login = at.netloc.rpartition("@")[0]
        place = f"127.0.0.1:{cutter.port}"
        yield cutter, at._replace(netloc=f"{login}@{place}" if login else place).geturl()


def cut_ours(system: System, stage: str) -> Came:
    """One of our senders. The system has all but senders."""
    witness = _slow_sink(system.sink, stage)
    with cutter_before(system.amqp_url) as (cutter, url):
        env = {"MAILWARREN_AMQP_URL": url, "MAILWARREN_CONNECTIONS": str(MAILS), "MAILWARREN_MAILS_BEHIND": "0"}
        name = f"sender-cut-{stage}"
        system.start_sender(name, env=env)
        try:
            promises = system.send_bulk([f"ours-{stage}{n}@d{n % 20}.test" for n in range(MAILS)])
            _wait_in_flight(witness, stage)
            _cut(cutter)
            found = system.settle(promises, timeout=_ENOUGH)
            if found.missing_rows or found.without_end:
                raise TimeoutError(f"mail without an end: {found}")
        finally:
            system.services[name].kill()
            system.forget_service(name)
    return _came(witness, f"ours-{stage}")


def cut_naive(system: System, stage: str) -> Came:
    """A textbook Celery worker that acknowledges late, with a thread for each mail."""
    witness = _slow_sink(system.sink, stage)
    with cutter_before(system.amqp_url) as (cutter, url), templates() as folder:
        worker = _NaiveWorker(system, url, f"naive-{stage}", folder)
        try:
            worker.send([f"naive-{stage}{n}@d{n % 20}.test" for n in range(MAILS)])
            _wait_in_flight(witness, stage)
            _cut(cutter)
            # Celery takes few messages at first after a reconnect, and often no more at all after some of them.
            restarts = 0
            while not _wait_quiet(witness, worker.waiting):
                worker.restart()
                restarts += 1
        finally:
            worker.close()
    return replace(_came(witness, f"naive-{stage}"), restarts=restarts)


def compare(stand: Stand, *, tell: Callable[[str], None]) -> int:
    """Print both side by side; the exit status is 1 when one of ours is lost or comes twice."""
    system = stand.system
    lines = ["| 150 mails in flight | worker | sent twice | lost | restarts it took |", "|---|---|---|---|---|"]
    ours = []
    for what, stage in WAITS.items():
        tell(f"{what}: a sender of ours")
        ours.append(cut_ours(system, stage))
        lines.append(f"| {what} | Mailwarren's sender | {ours[-1].twice} | {ours[-1].lost} | 0 |")
        tell(f"{what}: a textbook Celery worker with acks_late")
        naive = cut_naive(system, stage)
        lines.append(
            f"| {what} | Celery, acks_late, {MAILS} threads | {naive.twice} | {naive.lost} | {naive.restarts} |"
        )
    print("\n".join(lines))
    return 1 if any(came.twice or came.lost for came in ours) else 0


class _NaiveWorker:
    def __init__(self, system: System, url: str, queue: str, folder: Path) -> None:
        database = f"postgresql+psycopg://{system.database_url.partition('://')[2]}"
        self._direct = system.amqp_url
        self._queue = f"{system.prefix}{queue}"
        env = {
            **system.env,
            "TEXTBOOK_BROKER_URL": url,
            "TEXTBOOK_QUEUE": self._queue,
            "TEXTBOOK_DATABASE_URL": database,
            "TEXTBOOK_SMTP": system.smtp_url.removeprefix("smtp://"),
            "TEXTBOOK_TEMPLATES": str(folder),
            "TEXTBOOK_FROM": SENDER,
        }
        self._make_table(database)
        argv = [str(Path(sys.executable).parent / "celery"), "-A", "mailwarren.baselines.textbook_acks_late", "worker"]
        self._start = partial(
            Service,
            queue,
            [*argv, "-P", "threads", "-c", str(MAILS), "-n", f"{self._queue}@%h"],
            env,
            system.root / f"{queue}.log",
        )
        self._begin()

    def _begin(self) -> None:
        self._service = self._start()
        wait_for(self._consumes, 60, "the naive worker", self._service.check)

    @staticmethod
    def _make_table(database: str) -> None:
        from mailwarren.baselines.textbook_tasks import metadata

        engine = create_engine(database)
        metadata.create_all(engine)
        engine.dispose()

    def send(self, addresses: list[str]) -> None:
        """Give it the mails, over a connection that is not cut."""
        with Celery("textbook", broker=self._direct) as app:
            app.conf.update(task_default_queue=self._queue)
            for address in addresses:
                app.send_task(
                    "mailwarren.baselines.textbook_tasks.send_mail",
                    (address, {"name": "Ada", "order": "A-1", "items": []}),
                )

    def waiting(self) -> int:
        """Mails in its queue that it has not taken.

        Raises:
            ServiceDied: it has ended.
        """
        self._service.check()
        with Connection(self._direct) as connection:
            return int(connection.default_channel.queue_declare(queue=self._queue, passive=True).message_count)

    def restart(self) -> None:
        """What a person does with a worker that takes nothing more."""
        self._service.kill()
        self._begin()

    def close(self) -> None:
        """End it, and take its queue away."""
        self._service.kill()
        with Connection(self._direct) as connection:
            connection.default_channel.queue_delete(queue=self._queue)

    def _consumes(self) -> bool:
        with Connection(self._direct) as connection:
            try:
                found = connection.default_channel.queue_declare(queue=self._queue, passive=True)
            except connection.channel_errors:
                return False
            return bool(found.consumer_count)


def _slow_sink(witness: SinkWitness | None, stage: str) -> SinkWitness:
    if witness is None:
        raise RuntimeError("start_sink() comes first")
    witness.forget()
    witness.play({"domains": ["*"], "latency_by_stage_ms": {stage: SECONDS * 1000}})
    return witness


def _wait_in_flight(witness: SinkWitness, stage: str) -> None:
    if stage == "dot":
        wait_for(lambda: int(witness.stats()["pending"]) >= MAILS, 60, f"{MAILS} final dots")
        return
    wait_for(lambda: int(witness.stats()["connections_open"]) >= MAILS, 60, f"{MAILS} connections")
    # Their envelopes follow in the same moment; the server's answer to DATA takes far longer.
    time.sleep(SECONDS / 4)
    received = int(witness.stats()["received"])
    if received:
        raise TimeoutError(f"{received} final dots had come before all mails were in flight")


def _cut(cutter: Cutter) -> None:
    if not cutter.cut():
        raise RuntimeError("there was no connection to cut")


def _wait_quiet(witness: SinkWitness, waiting: Callable[[], int]) -> bool:
    """Wait until nothing moves; false when mails wait all the same."""
    end, moved, before = time.monotonic() + _ENOUGH, time.monotonic(), (-1, -1)
    while time.monotonic() < end:
        stats = witness.stats()
        state = int(stats["received"]), waiting()
        rest = time.monotonic() - moved
        if state != before or stats["connections_open"] or state[0] < MAILS:
            moved, before = time.monotonic(), state
        elif rest > SECONDS + (_STUCK if state[1] else _QUIET):
            return not state[1]
        time.sleep(0.1)
    raise TimeoutError("the sink does not come to rest")


def _came(witness: SinkWitness, tag: str) -> Came:
    copies = Counter(one.rcpt for one in witness.records() if one.rcpt.startswith(tag))
    return Came(MAILS, tuple(copies.values()))
