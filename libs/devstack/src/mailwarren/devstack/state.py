"""What is where below ``.local``, and which recorded processes are still the ones that were recorded."""

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psutil

_SAME_PROCESS_SECONDS = 2.0
"""Start times of one process read at different moments agree to this; a reused pid is off by far more."""


@dataclass(frozen=True)
class LocalDir:
    """The folder of one stack: ``.local`` of the clone, or a test's own."""

    path: Path

    @classmethod
    def of_clone(cls) -> "LocalDir":
        """The clone's ``.local``: the workspace above the current folder, or above this file."""
        for start in (Path.cwd(), Path(__file__).resolve()):
            for folder in (start, *start.parents):
                if (folder / "uv.lock").exists():
                    return cls(folder / ".local")
        return cls(Path.cwd() / ".local")

    def make(self) -> None:
        """Creates the folders. Others may pass through (Postgres drops root's rights); secrets are 0600 each."""
        for folder in (self.path, self.logs, self.run):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)

    @property
    def logs(self) -> Path:
        """One file for each process."""
        return self.path / "log"

    @property
    def run(self) -> Path:
        """Ready files and heartbeats."""
        return self.path / "run"

    @property
    def state(self) -> Path:
        """What runs: written by the supervisor."""
        return self.path / "state.json"

    @property
    def system(self) -> Path:
        """The addresses and secrets that the running system was started with."""
        return self.path / "system.json"

    @property
    def env(self) -> Path:
        """Lines of ``export NAME=value`` for people and tests."""
        return self.path / "env"

    @property
    def api_key(self) -> Path:
        """The key that ``up`` made for this stack."""
        return self.path / "api_key"

    @property
    def data_keys(self) -> Path:
        """What secrets in the stack's database are encrypted with, and as old as it: neither is of use alone."""
        return self.path / "data-keys"

    def log(self, name: str) -> Path:
        """The log of one process."""
        return self.logs / f"{name}.log"


class ProcessRecord(msgspec.Struct, frozen=True):
    """A process as it can be found again: the start time tells it from a later one with the same pid."""

    pid: int
    create_time: float
    name: str = ""

    @classmethod
    def of(cls, pid: int, name: str = "") -> "ProcessRecord":
        """The record of a process that runs now.

        Raises:
            psutil.NoSuchProcess: it does not.
        """
        return cls(pid=pid, create_time=psutil.Process(pid).create_time(), name=name)

    def find(self) -> psutil.Process | None:
        """The process, if that very process still runs (a zombie does not)."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.create_time) < _SAME_PROCESS_SECONDS
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None


class State(msgspec.Struct, frozen=True):
    """The content of ``state.json``."""

    supervisor: ProcessRecord | None = None
    processes: tuple[ProcessRecord, ...] = ()


def read_state(local: LocalDir) -> State:
    """What was last written; empty when nothing was, or when it cannot be read."""
    try:
        return msgspec.json.decode(local.state.read_bytes(), type=State)
    except (FileNotFoundError, msgspec.DecodeError):
        return State()


def write_private(path: Path, content: bytes) -> None:
    """Replaces a file in one act; only its owner may read it."""
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    Path(partial).replace(path)


def write_json(path: Path, value: Any) -> None:
    """:func:``write_private`` of a msgspec value, readable."""
    write_private(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def kill_records(records: Iterable[ProcessRecord]) -> list[str]:
    """Ends the recorded processes that still run, and their children; returns the names of those."""
    found = [(record, process) for record in records if (process := record.find())]
    victims: list[psutil.Process] = []
    for _, process in found:
        try:
            victims += [*process.children(recursive=True), process]
        except psutil.NoSuchProcess:
            continue
    for victim in victims:
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(victims, timeout=5)
    return [record.name for record, _ in found]
