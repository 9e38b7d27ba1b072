"""How other processes talk to the supervisor: one JSON request and one JSON answer over a Unix socket."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.process import ProcessSpec
from mailwarren.devstack.state import LocalDir

_TIMEOUT_SECONDS = 120.0
"""A stop waits for the slowest process; no spec allows more than a minute."""


class Status(msgspec.Struct, frozen=True, tag="status"):
    """What runs?"""


class Add(msgspec.Struct, frozen=True, tag="add"):
    """Start these and keep them running. One that is there already under the same name is replaced."""

    specs: tuple[ProcessSpec, ...]


class Remove(msgspec.Struct, frozen=True, tag="remove"):
    """Stop these and forget them."""

    names: tuple[str, ...]


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Stop these and leave them stopped until ``Start``."""

    names: tuple[str, ...]


class Start(msgspec.Struct, frozen=True, tag="start"):
    """Start these again."""

    names: tuple[str, ...]


class Signal(msgspec.Struct, frozen=True, tag="signal"):
    """Send a signal to a process; it is restarted when it dies of that."""

    name: str
    number: int


class Shutdown(msgspec.Struct, frozen=True, tag="shutdown"):
    """Stop everything in order, then the supervisor itself."""


Request = Status | Add | Remove | Stop | Start | Signal | Shutdown


class ProcessStatus(msgspec.Struct, frozen=True):
    """One supervised process."""

    name: str
    pid: int | None
    state: str
    """``running``, ``waiting`` (for its next start, after it died at once) or ``stopped``."""
    restarts: int
    uptime: float
    """Seconds."""
    log: str
    last_exit: int | None = None
    """Exit status of its last life; negative for a signal."""


class Answer(msgspec.Struct, frozen=True):
    """``error`` is empty when all went well."""

    processes: tuple[ProcessStatus, ...] = ()
    error: str = ""


@contextmanager
def socket_path(local: LocalDir) -> Iterator[str]:
    """A short path of the control socket: a Unix socket's path may have 107 bytes, and a clone's has any number."""
    folder = os.open(local.run, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/supervisor.sock"
    finally:
        os.close(folder)


class Supervisor:
    """The supervisor of a stack, from outside."""

    def __init__(self, local: LocalDir) -> None:
        self.local = local

    def is_running(self) -> bool:
        """Whether it answers."""
        try:
            self.status()
        except DevstackError:
            return False
        return True

    def status(self) -> dict[str, ProcessStatus]:
        """All its processes by name, in the order in which they were added.

        Raises:
            DevstackError: nothing answers.
        """
        return {process.name: process for process in self.ask(Status()).processes}

    def ask(self, request: Request) -> Answer:
        """Sends a request and returns when it is done.

        Raises:
            DevstackError: nothing answers, or the supervisor refused.
        """
        try:
            with socket_path(self.local) as path, socket.socket(socket.AF_UNIX) as link:
                link.settimeout(_TIMEOUT_SECONDS)
                link.connect(path)
                link.sendall(msgspec.json.encode(request) + b"\n")
                with link.makefile("rb") as lines:
                    answer = msgspec.json.decode(lines.readline(), type=Answer)
        except (OSError, msgspec.DecodeError) as error:
            raise DevstackError("the stack is not running here; start it with: make up") from error
        if answer.error:
            raise DevstackError(answer.error)
        return answer


def remove_stale_socket(local: LocalDir) -> None:
    """Deletes the socket of a supervisor that is gone."""
    Path(local.run / "supervisor.sock").unlink(missing_ok=True)
