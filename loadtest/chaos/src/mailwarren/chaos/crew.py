"""The senders of a run: they come, go in order, and are killed."""

import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from random import Random

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from mailwarren.devstack.harness.system import System

_GAUGE = "mailwarren_sender_exposed"
_SETTLE = "mailwarren_sender_settle_seconds"


@dataclass(frozen=True)
class Death:
    """A sender that was killed.

    Attributes:
        round: in which round.
        sender: its name.
        at: Unix seconds.
        gauge: ``mailwarren_sender_exposed`` just before; None when it was not ready to say.
        ports: its TCP ports towards the sink at that moment.
        others: those of the senders that lived on.
    """

    round: int
    sender: str
    at: float
    gauge: int | None
    ports: frozenset[int]
    others: frozenset[int] = frozenset()


@dataclass
class Settling:
    """How long the tracker took to answer, from the senders' histograms."""

    buckets: Counter[float] = field(default_factory=Counter)
    """Questions answered within so many seconds, each bound with those below it."""
    unanswered: int = 0

    @property
    def answered(self) -> int:
        """Questions that got an answer."""
        return self.buckets[inf]

    def within(self, share: float) -> float:
        """The least bound in seconds that so large a share of the answers kept to."""
        return min((bound for bound, count in self.buckets.items() if count >= share * self.answered), default=inf)


class Crew:
    """Starts, ends and kills the senders of ``system``.

    Args:
        env: settings of every sender.
    """

    def __init__(self, system: System, env: Mapping[str, str], chance: Random) -> None:
        self._system = system
        self._env = dict(env)
        self._chance = chance
        self._started = 0
        self._leaving: set[str] = set()
        self.settling = Settling()
        """Of the senders that were killed, and of those that were :meth:`ask_living`."""

    @property
    def alive(self) -> list[str]:
        """Those that were neither killed nor told to leave.

        Raises:
            ServiceDied: one ended by itself.
        """
        found = []
        for name, service in self._system.services.items():
            if name.startswith("sender") and name not in self._leaving:
                service.check()
                found.append(name)
        return found

    def kill(self, count: int, number: int) -> list[Death]:
        """SIGKILL to ``count`` of them, or all there are, in round ``number``."""
        chosen = self._chance.sample(self.alive, min(count, len(self.alive)))
        deaths = [self._kill_one(name, number) for name in chosen]
        for name in chosen:
            self._system.forget_service(name)
        others = frozenset(port for name in self._living() for port in self._ports(self._system.services[name].pid))
        return [replace(death, others=others) for death in deaths]

    def _living(self) -> list[str]:
        return [name for name, one in self._system.services.items() if name.startswith("sender") and one.alive]

    def _kill_one(self, name: str, number: int) -> Death:
        service = self._system.services[name]
        gauge = self._ask(name)
        # Nothing is sent after this, so that the ports are those of all it has sent.
        at = service.signal(signal.SIGSTOP)
        ports = self._ports(service.pid)
        service.kill()
        return Death(number, name, at, gauge, ports)

    def set_count(self, count: int) -> tuple[int, int]:
        """Start or end so many that ``count`` are there; how many were started, and how many told to leave.

        Nobody waits: a sender that leaves finishes what it has in hand, one that comes takes mail when it is ready.
        """
        alive = self.alive
        for _ in range(len(alive), count):
            self._system.start_sender(f"sender{self._started}", env=self._env, wait=False)
            self._started += 1
        surplus = alive[count:]
        for name in surplus:
            self._leaving.add(name)
            self._system.services[name].signal(signal.SIGTERM)
        return max(0, count - len(alive)), len(surplus)

    def _ports(self, pid: int) -> frozenset[int]:
        try:
            open_now = psutil.Process(pid).net_connections("tcp")
        except psutil.NoSuchProcess:  # it was leaving
            return frozenset()
        return frozenset(one.laddr.port for one in open_now if self._is_to_sink(one))

    def _is_to_sink(self, connection: "psutil._ntuples.pconn") -> bool:
        return bool(connection.raddr) and self._system.smtp_url.endswith(f":{connection.raddr.port}")

    def ask_living(self) -> None:
        """Add what those that live have measured."""
        for name in self.alive:
            self._ask(name)

    def _ask(self, name: str) -> int | None:
        """Add what a sender has measured; what it says would be sent twice now."""
        try:
            text = httpx.get(self._system.metrics_url(name), timeout=1).text
        except httpx.HTTPError:
            return None
        exposed = None
        for family in text_string_to_metric_families(text):
            for sample in family.samples if family.name in (_GAUGE, _SETTLE) else ():
                if sample.name == _GAUGE:
                    exposed = int(sample.value)
                elif sample.name == f"{_SETTLE}_bucket" and sample.labels["answered"] == "yes":
                    self.settling.buckets[float(sample.labels["le"])] += int(sample.value)
                elif sample.name == f"{_SETTLE}_count" and sample.labels["answered"] == "no":
                    self.settling.unanswered += int(sample.value)
        return exposed
