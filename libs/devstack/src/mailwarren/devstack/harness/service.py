"""One process of the system under test."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class ServiceDied(RuntimeError):
    """The process ended by itself; the text ends with its last log lines."""


class Service:
    """A child process with its log in a file."""

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._handle = log.open("ab")
        self.process = subprocess.Popen(
            list(argv), env=dict(env), stdout=self._handle, stderr=subprocess.STDOUT, start_new_session=True
        )

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """It has not ended."""
        return self.process.poll() is None

    def check(self) -> None:
        """Raise :class:`ServiceDied` when it has ended."""
        if not self.alive:
            raise ServiceDied(f"{self.name} ended with {self.process.returncode}:\n{self.tail()}")

    def tail(self, lines: int = 30) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def signal(self, number: signal.Signals) -> float:
        """Send a signal; returns the Unix time just before it was sent."""
        at = time.time()
        if self.alive:
            os.kill(self.pid, number)
        return at

    def kill(self) -> float:
        """SIGKILL, and wait for the end; returns the Unix time just before."""
        at = self.signal(signal.SIGKILL)
        self.process.wait(timeout=10)
        self._handle.close()
        return at

    def stop(self, timeout: float = 60.0) -> int:
        """SIGTERM, and SIGKILL when it does not end within ``timeout`` seconds; returns its exit status."""
        self.signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServiceDied(f"{self.name} did not stop within {timeout} s:\n{self.tail()}") from None
        finally:
            self._handle.close()
