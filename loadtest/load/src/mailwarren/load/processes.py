"""Locust's processes on this machine: one, or a master with workers. Nothing is left running.

They have sessions of their own, so that a ^C reaches this process alone, which ends them in order: the master first,
who lets the workers finish their calls.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from mailwarren.load.plan import SHAPES, STOP_TIMEOUT, USERS, Plan

ENDING = STOP_TIMEOUT + 30.0
"""Seconds for the master to end after it was told to."""
_WORKER_ENDING = 5.0


def locust_arguments(plan: Plan, locustfile: Path, url: str) -> list[str]:
    """What every process of a run is told: the files, the host, the users' classes."""
    files = [locustfile]
    if shape := SHAPES.get(plan.scenario):
        files.append(locustfile.parent / "scenarios" / shape)
    command = [sys.executable, "-m", "locust", "-f", ",".join(map(str, files)), "--host", url]
    return [*command, "--loglevel", "WARNING", "--stop-timeout", str(STOP_TIMEOUT), *USERS[plan.scenario]]


def head_arguments(plan: Plan, *, web: str) -> list[str]:
    """What the master, or the only process, is told beside that.

    Args:
        plan: of the run.
        web: ``HOST:PORT`` of the web page; empty for none.
    """
    arguments = ["--csv", str(plan.folder / "stats"), "--only-summary"]
    if web:
        host, _, port = web.rpartition(":")
        arguments += ["--web-host", host, "--web-port", port]
    else:
        arguments.append("--headless")
    if plan.scenario in SHAPES:
        return arguments
    arguments += ["--users", str(plan.users), "--spawn-rate", str(max(1, plan.users // 2))]
    return [*arguments, "--run-time", f"{plan.seconds}s"] if plan.seconds else arguments


@dataclass
class Processes:
    """The processes of one run. Use as a context manager: leaving it ends all that still run.

    Args:
        environment: of each.
        logs: folder for the workers' output.
    """

    environment: Mapping[str, str]
    logs: Path
    head: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in [self.head, *self.workers]:
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()

    def start_head(self, command: Sequence[str]) -> None:
        """Start the master, or the only process; it has our output."""
        self.head = subprocess.Popen(command, env=self._env, start_new_session=True)  # noqa: S603

    def start_worker(self, command: Sequence[str]) -> None:
        """Start a worker; it writes into a log."""
        log = self.logs / f"worker-{len(self.workers) + 1}.log"
        with log.open("wb") as file:
            worker = subprocess.Popen(  # noqa: S603
                command, env=self._env, start_new_session=True, stdout=file, stderr=subprocess.STDOUT
            )
        self.workers.append(worker)

    def wait(self) -> tuple[int, bool]:
        """The head's exit status and whether somebody interrupted. A second interruption ends all at once.

        Raises:
            KeyboardInterrupt: the second one.
        """
        if self.head is None:
            raise RuntimeError("start_head() comes first")
        interrupted = False
        try:
            status = self.head.wait()
        except KeyboardInterrupt:
            interrupted = True
            print("\nInterrupted: the calls that are under way get their answers. ^C again ends at once.", flush=True)
            self.head.send_signal(signal.SIGTERM)
            try:
                status = self.head.wait(ENDING)
            except subprocess.TimeoutExpired:
                print(f"Locust did not end within {ENDING:.0f} s and is killed.", flush=True)
                self.head.kill()
                status = self.head.wait()
        for worker in self.workers:
            try:
                worker.wait(_WORKER_ENDING)
            except subprocess.TimeoutExpired:
                worker.terminate()
        return status, interrupted

    @property
    def _env(self) -> dict[str, str]:
        # Locust reads LOCUST_*: a person's own settings would change what we ask for.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
        return {**kept, **self.environment, "PYTHONUNBUFFERED": "1"}
