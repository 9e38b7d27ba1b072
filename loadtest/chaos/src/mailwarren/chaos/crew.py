"""The senders of a run: they come, go in order, and are killed."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

import httpx
import psutil

from mailwarren.devstack.harness.system import System

_GAUGE = "mailwarren_sender_exposed "


@dataclass(frozen=True)
class Death:
    """A sender that was killed.

    Attributes:
        round: in which round.
        sender: its name.
        at: Unix seconds.
        gauge: ``mailwarren_sender_exposed`` just before; None when it was not ready to say.
        ports: its TCP ports towards the sink at that moment.
    """

    round: int
    sender: str
    at: float
    gauge: int | None
    ports: frozenset[int]


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
        return deaths

    def _kill_one(self, name: str, number: int) -> Death:
        service = self._system.services[name]
        gauge = self._gauge(name)
        # Nothing is sent after this, so that the ports are those of all it has sent.
        at = service.signal(signal.SIGSTOP)
        ports = frozenset(
            one.laddr.port for one in psutil.Process(service.pid).net_connections("tcp") if self._is_to_sink(one)
        )
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

    def _is_to_sink(self, connection: "psutil._ntuples.pconn") -> bool:
        return bool(connection.raddr) and self._system.smtp_url.endswith(f":{connection.raddr.port}")

    def _gauge(self, name: str) -> int | None:
        try:
            lines = httpx.get(self._system.metrics_url(name), timeout=1).text.splitlines()
        except httpx.HTTPError:
            return None
        return next((int(float(line.removeprefix(_GAUGE))) for line in lines if line.startswith(_GAUGE)), None)
