"""What every private server has in common: files of its own, processes that its owner stops, readiness."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.process import LocalProcess, ProcessSpec, log_tail


class PrivateServer(ABC):
    """One server and its data.

    Args:
        home: its folder; data of an earlier run is used again.
        log: the file that it writes to; in ``home`` unless given.
    """

    NAME: ClassVar[str]
    """Of its process among :meth:`specs`, of its log, and in the supervisor's list."""
    TITLE: ClassVar[str]
    """For people."""
    START_SECONDS: ClassVar[float]
    """A server that takes longer has failed to start."""
    POLL_SECONDS: ClassVar[float] = 0.02

    def __init__(self, home: Path, *, log: Path | None = None) -> None:
        self.home = home
        self.log = log or home / f"{self.NAME}.log"
        self._processes: dict[str, LocalProcess] = {}

    @property
    def pid(self) -> int | None:
        """The server itself, when this object started it and it runs."""
        main = self._processes.get(self.NAME)
        return main.pid if main and main.is_running() else None

    @property
    def pids(self) -> list[int]:
        """All processes that this object started and that run."""
        return [process.pid for process in self._processes.values() if process.is_running()]

    @abstractmethod
    def prepare(self) -> None:
        """Makes the files that the server needs, or finds those of an earlier run.

        Raises:
            DevstackError: they could not be made.
        """

    @abstractmethod
    def specs(self) -> tuple[ProcessSpec, ...]:
        """Its processes, in the order to start them. Call ``prepare`` first."""

    @abstractmethod
    def is_up(self) -> bool:
        """Whether it serves clients."""

    def start(self, *, wait: bool = True) -> None:
        """Starts what does not run; returns when it serves clients, or at once without ``wait``.

        Raises:
            DevstackError: it ended instead, or took longer than ``START_SECONDS``.
        """
        self.prepare()
        for spec in self.specs():
            known = self._processes.get(spec.name)
            if known is None or not known.is_running():
                self._processes[spec.name] = LocalProcess(spec)
        if wait:
            self.wait_ready(lambda: self.pid is not None)

    def wait_ready(self, is_running: Callable[[], bool]) -> None:
        """Returns when it serves clients.

        Raises:
            DevstackError: it ended instead, or took longer than ``START_SECONDS``.
        """
        deadline = time.monotonic() + self.START_SECONDS
        while not self.is_up():
            ended = not is_running()
            if ended or time.monotonic() > deadline:
                said = "ended while starting" if ended else f"did not start within {self.START_SECONDS:.0f} s"
                raise DevstackError(f"{self.TITLE} {said}. The end of {self.log}:\n{log_tail(self.log)}")
            time.sleep(self.POLL_SECONDS)

    def stop(self) -> None:
        """Stops it in an orderly way. Its data stays."""
        for process in reversed(self._processes.values()):
            process.stop()

    @abstractmethod
    def kill(self) -> None:
        """Stops it as a crash would."""

    def restart(self) -> None:
        """Stops and starts, on the same ports."""
        self.stop()
        self.start()

    @abstractmethod
    def remove(self) -> None:
        """Kills what runs and deletes the data."""
