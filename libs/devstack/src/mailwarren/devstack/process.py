"""One child process: how it is started, how it is stopped, and where it writes."""

import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from mailwarren.devstack.errors import DevstackError

_POLL_SECONDS = 0.02

_IF_STILL_CHILD_OF = ("sh", "-c", 'test "$PPID" = "$0" && exec "$@"')
"""Runs a command only as a child of the given pid: a parent that died before ``setpriv`` had asked is never told of."""


class ProcessSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything needed to start a process, now and again after it died."""

    name: str
    argv: tuple[str, ...]
    log: str
    """Absolute path; appended to."""
    cwd: str
    env: dict[str, str] = {}
    """Added to the environment of whoever starts it."""
    user: int | None = None
    group: int | None = None
    """To drop to when root starts it."""
    stop_signal: int = signal.SIGTERM
    stop_seconds: float = 10.0
    """From the stop signal to SIGKILL."""
    death_signal: str = "KILL"
    """What the kernel sends it when its parent dies: KILL, or a signal that makes it stop by itself at once."""
    stage: int = 1
    """Processes of a higher stage are stopped before those of a lower one."""


def spawn(spec: ProcessSpec) -> "subprocess.Popen[bytes]":
    """Starts the process in a session of its own, so that a ^C in the terminal does not reach it.

    The kernel ends it when its parent dies. That is tied to the parent's *thread*, so it is asked for in the main
    thread only; elsewhere the caller has to stop the process.

    Raises:
        DevstackError: the program is not there, or may not be run.
    """
    argv = list(spec.argv)
    if threading.current_thread() is threading.main_thread() and (setpriv := shutil.which("setpriv")):
        argv = [setpriv, "--pdeathsig", spec.death_signal, "--", *_IF_STILL_CHILD_OF, str(os.getpid()), *argv]
    try:
        with Path(spec.log).open("ab") as log:
            return subprocess.Popen(
                argv,
                cwd=spec.cwd,
                env={**os.environ, **spec.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=spec.user,
                group=spec.group,
                extra_groups=[] if spec.user is not None else None,
            )
    except OSError as error:
        raise DevstackError(f"cannot start {spec.name}: {error}") from error


def signal_group(pid: int, number: int) -> None:
    """Signals a spawned process and all that share its session; gone is fine."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


class LocalProcess:
    """A spawned process that its owner stops: what the private servers are made of outside the supervisor."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self._process = spawn(spec)
        self._group_ended = False

    @property
    def pid(self) -> int:
        """The process itself: there is no shell in between."""
        return self._process.pid

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Asks it to stop, and kills it when it takes longer than its spec allows."""
        if self.is_running():
            self._process.send_signal(self.spec.stop_signal)
            self._wait(self.spec.stop_seconds)
        self.kill()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Ends it the hard way, and what it started; returns when it is gone."""
        if self.is_running():
            self._process.send_signal(number)
            self._wait(5)
        if not self._group_ended:  # once: later the number may be somebody else's
            signal_group(self.pid, signal.SIGKILL)
            self._group_ended = True
        self._process.wait()

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.is_running() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


def log_tail(path: Path | str, lines: int = 12) -> str:
    """The last lines of a log, indented, for a message."""
    path = Path(path)
    text = path.read_text(errors="replace").splitlines()[-lines:] if path.exists() else []
    return "\n".join(f"    | {line}" for line in text) or "    | (empty)"
