"""What is measured: a whole Mailwarren of real processes with a broker and a database of its own."""

import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import psutil

from mailwarren.bench.cpu import CpuMeter
from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.harness.system import System
from mailwarren.devstack.interrupts import held_back
from mailwarren.devstack.postgres import Postgres
from mailwarren.devstack.servers import private_rabbitmq
from mailwarren.devstack.state import LocalDir


def tidy_on_sigterm() -> None:
    """Let stands end their processes on the way out: a bare SIGTERM would leave them behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))


class Sink:
    """The sink, as the rivals see it too."""

    def __init__(self, system: System) -> None:
        self._system = system

    @property
    def smtp_address(self) -> str:
        """``127.0.0.1:port``."""
        return self._system.smtp_url.removeprefix("smtp://")

    @property
    def pids(self) -> list[int]:
        """Its process."""
        return [self._system.services["sink"].pid]

    def accepted(self) -> int:
        """Mails answered with 250 since the last :meth:`forget`."""
        witness = self._system.sink
        return int(witness.stats()["accepted"]) if witness else 0

    def forget(self) -> None:
        """Start the counts anew."""
        if self._system.sink:
            self._system.sink.forget()

    def wait_for(self, count: int, timeout: float = 600.0) -> None:
        """Return when ``count`` mails were accepted.

        Raises:
            TimeoutError: after ``timeout`` seconds.
        """
        end = time.monotonic() + timeout
        while (got := self.accepted()) < count:
            if time.monotonic() > end:
                raise TimeoutError(f"the sink has {got} of {count} mails after {timeout:.0f} s")
            time.sleep(0.05)


class Stand:
    """A context manager: everything runs inside, and nothing is left of it outside.

    Args:
        senders: the lanes of each sender process; one for each lane, as ``make up`` has it, unless given.
        env: more settings, by service name (``ingest``, ``tracker``, ``sender``).
        services: False is a broker, a database and a sink alone.
        retry_scale: 0.01 makes five minutes three seconds.
    """

    def __init__(
        self,
        *,
        senders: Mapping[str, Iterable[Lane]] | None = None,
        env: Mapping[str, Mapping[str, str]] | None = None,
        services: bool = True,
        retry_scale: float = 1.0,
    ) -> None:
        self.lanes = senders if senders is not None else {f"sender-{lane}": (lane,) for lane in Lane}
        self._env = env or {}
        self._services = services
        self._retry_scale = retry_scale
        base = LocalDir.of_clone().path / "bench"
        base.mkdir(parents=True, exist_ok=True)
        base.chmod(0o755)
        self.root = Path(tempfile.mkdtemp(dir=base))
        self.root.chmod(0o755)
        self.rabbitmq = private_rabbitmq(self.root / "rabbitmq")
        self.postgres = Postgres(self.root / "postgres")

    def __enter__(self) -> Self:
        try:
            self.rabbitmq.start(wait=False)
            self.postgres.start()
            self.rabbitmq.wait_ready(lambda: bool(self.rabbitmq.pids))
            self.system = System(
                self.root,
                amqp_url=self.rabbitmq.amqp_url,
                database_url=self.postgres.database_url,
                retry_scale=self._retry_scale,
            )
            self.sink = Sink(self.system)
            self.system.start_sink("--keep", "100")
            if self._services:
                self._start_services()
        except BaseException:
            self.close()
            raise
        return self

    def _start_services(self) -> None:
        self.system.prepare()
        self.system.start_ingest(wait=False, **self._env.get("ingest", {}))
        self.system.start_tracker(wait=False, env=dict(self._env.get("tracker", {})))
        self.start_senders(wait=False)
        self.system.wait_ready()

    def start_senders(self, *, wait: bool = True) -> None:
        """The senders of every lane."""
        for name, lanes in self.lanes.items():
            self.system.start_sender(name, lanes, env=dict(self._env.get("sender", {})), wait=wait)

    def start_alike(self, count: int, lanes: Iterable[Lane], shards: Iterable[str]) -> None:
        """``count`` senders that consume these lanes and shards each; returns when they are ready."""
        lanes, shards, env = tuple(lanes), tuple(shards), dict(self._env.get("sender", {}))
        for number in range(count):
            self.system.start_sender(f"sender{number}", lanes, shards=shards, env=env, wait=False)
        self.system.wait_ready()

    def end_senders(self) -> dict[str, int]:
        """End all senders in order; what the queues hold then, by name: nothing, once all mail has an end."""
        left = self.system.left_in_broker()
        for name in [name for name in self.system.services if name.startswith("sender")]:
            self.system.forget_service(name)
        return left

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends every process and deletes all files; ^C waits for it."""
        with held_back():
            if hasattr(self, "system"):
                self.system.close()
            self.rabbitmq.remove()
            self.postgres.remove()
            shutil.rmtree(self.root, ignore_errors=True)

    @property
    def amqp_url(self) -> str:
        """The broker's."""
        return self.rabbitmq.amqp_url

    @property
    def database_url(self) -> str:
        """The database's."""
        return self.postgres.database_url

    @property
    def broker_pids(self) -> list[int]:
        """The Erlang VM and its port mapper."""
        return self.rabbitmq.pids

    @property
    def postgres_pids(self) -> list[int]:
        """The postmaster, whose children count with it."""
        return self.postgres.pids

    def groups(self) -> dict[str, list[int]]:
        """Process ids by part, without the client; a pid's children count with it."""
        services = self.system.services
        senders = [service.pid for name, service in services.items() if name.startswith("sender") and service.alive]
        return {
            "ingest": [services["ingest"].pid],
            "broker": self.broker_pids,
            "sender": senders,
            "tracker": [services["tracker"].pid],
            "postgres": self.postgres_pids,
            "sink": self.sink.pids,
        }

    def meter(self) -> CpuMeter:
        """CPU of every part; the client is the calling process."""
        return CpuMeter(self.groups(), own="client")

    def memory(self, name: str) -> float:
        """Resident megabytes of a service."""
        return float(psutil.Process(self.system.services[name].pid).memory_info().rss) / 1e6

    def senders_total(self, metric: str) -> float:
        """A counter's sum over all senders and labels."""
        lines: list[str] = []
        for name, service in self.system.services.items():
            if name.startswith("sender") and service.alive:
                answer = httpx.get(self.system.metrics_url(name), timeout=10).raise_for_status()
                lines += answer.text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{metric}[ {{]", line))

    def answered_at(self, domain: str) -> dict[str, float]:
        """Unix seconds of the 250 to the final dot by recipient, for those of ``domain``."""
        records = self.system.sink.records() if self.system.sink else []
        return {one.rcpt: one.answered_at for one in records if one.answered_at and one.rcpt.endswith(f"@{domain}")}

    def ended(self) -> int:
        """Deliveries recorded as delivered."""
        return self._counted("delivered")

    def _counted(self, kind: str) -> int:
        # Not count(*) over the deliveries: it reads a million rows, and its cost would be in what is measured.
        (row,) = self.system.query(f"select coalesce(sum(count), 0) as n from stats_minute where kind = '{kind}'")  # noqa: S608
        return int(row["n"])

    def wait_recorded(self, count: int, timeout: float = 900.0) -> None:
        """Return when ``count`` deliveries were recorded as accepted.

        Raises:
            TimeoutError: after ``timeout`` seconds.
        """
        end = time.monotonic() + timeout
        while (got := self._counted("accepted")) < count:
            if time.monotonic() > end:
                raise TimeoutError(f"the tables have {got} of {count} deliveries after {timeout:.0f} s")
            time.sleep(0.2)

    def wait_ended(self, count: int, timeout: float = 600.0) -> None:
        """Return when the tables have ``count`` delivered mails; wait for the sink first, for the count is not free.

        Raises:
            TimeoutError: after ``timeout`` seconds.
        """
        end = time.monotonic() + timeout
        while (got := self.ended()) < count:
            if time.monotonic() > end:
                raise TimeoutError(f"the tables have {got} of {count} mails after {timeout:.0f} s")
            time.sleep(0.05)
