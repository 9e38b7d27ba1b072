"""Keeps the processes of a stack running, as a cluster would: restarts what dies, stops all in order.

``python -m mailwarren.devstack.supervisor FOLDER`` runs it in the foreground; ``make up`` runs it as a daemon. It is
told what to run over its control socket and knows nothing of mail. What can fail: a program that dies at once is
started again after 0.5, 1, 2 … 30 s. When the supervisor itself is killed, the kernel ends its children.
"""

import asyncio
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from subprocess import Popen

import msgspec
import psutil

from mailwarren.devstack.control import (
    Add,
    Answer,
    ProcessStatus,
    Remove,
    Request,
    Shutdown,
    Signal,
    Start,
    Status,
    Stop,
    remove_stale_socket,
    socket_path,
)
from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.process import ProcessSpec, signal_group, spawn
from mailwarren.devstack.state import LocalDir, ProcessRecord, State, write_json

_TICK_SECONDS = 0.05
_LIVED_SECONDS = 3.0
"""A process that lived this long did not die at once: it is restarted without waiting."""
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0
_LOG_BYTES = 20_000_000
"""A log that is longer when its process starts is set aside as ``.log.1``."""
_REQUEST_BYTES = 4_000_000
"""A list of specs with their environments is longer than asyncio's 64 kB for a line."""


def restart_delay(previous: float, lived: float) -> float:
    """Seconds to wait before the next start of a process that ``lived`` so long, after having waited ``previous``."""
    if lived >= _LIVED_SECONDS:
        return 0.0
    return min(_LONGEST_DELAY, max(_FIRST_DELAY, previous * 2))


class Child:
    """One supervised process and its history."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self.wanted = True
        self.restarts = 0
        self.record: ProcessRecord | None = None
        self.last_exit: int | None = None
        self._process: Popen[bytes] | None = None
        self._ended = asyncio.Event()
        self._ended.set()
        self._started = 0.0
        self._delay = 0.0
        self._next_start = 0.0

    def start(self) -> None:
        """Starts it now. A program that is not there counts as one that died at once."""
        self._started = time.monotonic()
        log = Path(self.spec.log)
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        try:
            self._process = spawn(self.spec)
            self._ended.clear()
            self.record = ProcessRecord.of(self._process.pid, self.spec.name)
        except (DevstackError, psutil.Error) as error:
            self._note(str(error))

    def tick(self) -> bool:
        """Notices a death, and restarts when it is time; returns whether anything changed."""
        if self.is_running():
            return False
        if self._process is not None:
            self._mourn(self._process)
            return True
        if self.wanted and self.record is None and time.monotonic() >= self._next_start:
            self.restarts += 1
            self.start()
            if self._process is None:
                self._plan_restart(0.0)
            return True
        return False

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process is not None and self._process.poll() is None

    def send(self, number: int) -> None:
        """Signals the process, if it runs."""
        if self._process is not None and self.is_running():
            self._process.send_signal(number)

    async def stop(self) -> None:
        """Stops it for good: its stop signal, its grace, then SIGKILL to all of its session."""
        self.wanted = False
        self.send(self.spec.stop_signal)
        try:
            async with asyncio.timeout(self.spec.stop_seconds):
                await self._ended.wait()
        except TimeoutError:
            self._note(f"still there after {self.spec.stop_seconds:g} s; killing it")
            self.send(signal.SIGKILL)
            await self._ended.wait()

    def resume(self) -> None:
        """Starts it again after ``stop``."""
        if not self.wanted:
            self.wanted = True
            self._delay = 0.0
            self.start()

    def status(self) -> ProcessStatus:
        """As the control socket tells it."""
        running = self.is_running()
        return ProcessStatus(
            name=self.spec.name,
            pid=self._process.pid if running and self._process else None,
            state="running" if running else "waiting" if self.wanted else "stopped",
            restarts=self.restarts,
            uptime=time.monotonic() - self._started if running else 0.0,
            log=self.spec.log,
            last_exit=self.last_exit,
        )

    def _mourn(self, process: "Popen[bytes]") -> None:
        signal_group(process.pid, signal.SIGKILL)  # what it had started itself
        lived = time.monotonic() - self._started
        self.last_exit = process.returncode
        self._process = self.record = None
        self._ended.set()
        self._note(f"ended with {process.returncode} after {lived:.1f} s")
        self._plan_restart(lived)

    def _plan_restart(self, lived: float) -> None:
        self._delay = restart_delay(self._delay, lived)
        self._next_start = time.monotonic() + self._delay
        if self.wanted and self._delay:
            self._note(f"next start in {self._delay:g} s")

    def _note(self, text: str) -> None:
        """Says it in the process's own log, where one looks first, and in the supervisor's."""
        line = f"[supervisor] {time.strftime('%H:%M:%S')} {self.spec.name}: {text}\n"
        sys.stdout.write(line)
        sys.stdout.flush()
        with Path(self.spec.log).open("a") as log:
            log.write(line)


class Supervisor:
    """All children of one stack."""

    def __init__(self, local: LocalDir) -> None:
        self._local = local
        self._children: dict[str, Child] = {}
        self._ending = asyncio.Event()

    async def run(self) -> None:
        """Serves until it is told to end; then everything is stopped."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        remove_stale_socket(self._local)
        with socket_path(self._local) as path:
            server = await asyncio.start_unix_server(self._serve, path, limit=_REQUEST_BYTES)
            (self._local.run / "supervisor.sock").chmod(0o600)
        async with server:
            self._save()
            watch = asyncio.create_task(self._watch())
            await self._ending.wait()
            await self._stop(self._children)
            watch.cancel()
            self._local.state.unlink(missing_ok=True)
            remove_stale_socket(self._local)

    async def _watch(self) -> None:
        """Notices deaths by looking: SIGCHLD would say no more than that there is something to look at."""
        while True:
            changed = [child.tick() for child in self._children.values()]
            if any(changed):
                self._save()
            await asyncio.sleep(_TICK_SECONDS)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            request: Request | None = None
            try:
                request = msgspec.json.decode(await reader.readuntil(b"\n"), type=Request)
                await self._do(request)
                answer = Answer(tuple(child.status() for child in self._children.values()))
            except (msgspec.DecodeError, DevstackError, KeyError, asyncio.IncompleteReadError) as error:
                answer = Answer(error=f"unknown process: {error}" if isinstance(error, KeyError) else str(error))
            if not isinstance(request, Status):
                self._save()
            writer.write(msgspec.json.encode(answer) + b"\n")
            await writer.drain()
            writer.close()
            if isinstance(request, Shutdown):
                self._ending.set()

    async def _do(self, request: Request) -> None:
        match request:
            case Status():
                return
            case Shutdown():
                await self._stop(self._children)
            case Add(specs):
                await self._add(specs)
            case Remove(names):
                await self._stop(names)
                self._children = {name: child for name, child in self._children.items() if name not in names}
            case Stop(names):
                await self._stop(names)
            case Start(names):
                self._start(names)
            case Signal(name, number):
                self._children[name].send(number)

    async def _add(self, specs: Iterable[ProcessSpec]) -> None:
        specs = tuple(specs)
        await self._stop(spec.name for spec in specs if spec.name in self._children)
        for spec in specs:
            self._children[spec.name] = Child(spec)
            self._children[spec.name].start()

    def _start(self, names: Iterable[str]) -> None:
        for name in names:
            self._children[name].resume()

    async def _stop(self, names: Iterable[str]) -> None:
        """Later stages first, each stage at once."""
        children = [self._children[name] for name in names]
        for stage in sorted({child.spec.stage for child in children}, reverse=True):
            await asyncio.gather(*(child.stop() for child in children if child.spec.stage == stage))
            self._save()

    def _save(self) -> None:
        if not self._local.path.exists():
            return
        records = tuple(child.record for child in self._children.values() if child.record)
        write_json(self._local.state, State(ProcessRecord.of(os.getpid(), "supervisor"), records))


def main() -> None:
    """Runs a supervisor in the foreground for the folder named on the command line."""
    local = LocalDir(Path(sys.argv[1]).resolve())
    local.make()
    with (local.run / "supervisor.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"a supervisor for {local.path} runs already")
        asyncio.run(Supervisor(local).run())


if __name__ == "__main__":
    main()
