"""Scratch folders of test runs, each with a record of what it started, and the removal of those that were killed."""

import os
import shutil
from pathlib import Path

import msgspec

from mailwarren.devstack import postgres_files
from mailwarren.devstack.rabbitmq_docker import DockerRabbitMQ
from mailwarren.devstack.state import LocalDir, ProcessRecord, State, kill_records, write_json


class Scratch:
    """The folder of one run below ``.local/tests``. It stays findable until ``remove``."""

    def __init__(self, local: LocalDir) -> None:
        self._owner = ProcessRecord.of(os.getpid(), "pytest")
        self._processes: list[ProcessRecord] = []
        self._homes = 0
        self.path = local.path / "tests" / f"{self._owner.pid}-{int(self._owner.create_time)}"
        self.path.mkdir(mode=0o755, parents=True)
        self._save()

    def home(self, name: str) -> Path:
        """A new folder for one server."""
        self._homes += 1
        return self.path / f"{name}-{self._homes}"

    def record(self, pid: int | None, name: str) -> None:
        """Remembers a process that this run started."""
        if pid is not None:
            self._processes.append(ProcessRecord.of(pid, name))
            self._save()

    def remove(self) -> None:
        """Ends what still runs and deletes the folder."""
        kill_records(self._processes)
        _delete(self.path)

    def _save(self) -> None:
        write_json(self.path / "run.json", State(self._owner, tuple(self._processes)))


def remove_leftovers(local: LocalDir) -> list[Path]:
    """Removes the folders, and ends the processes, of runs whose own process is gone; returns those folders."""
    removed = []
    for folder in (local.path / "tests").glob("*"):
        try:
            run = msgspec.json.decode((folder / "run.json").read_bytes(), type=State)
        except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
            continue  # another run is just making or deleting it
        if run.supervisor is None or run.supervisor.find() is None:
            kill_records(run.processes)
            _delete(folder)
            removed.append(folder)
    return removed


def _delete(folder: Path) -> None:
    for container in folder.glob("*/container.json"):
        DockerRabbitMQ(container.parent).remove()
    for pointer in folder.glob("*/elsewhere"):
        postgres_files.remove(pointer.parent)
    shutil.rmtree(folder, ignore_errors=True)
