"""A private Postfix that takes mail over SMTP and passes all of it on to one next hop.

Its own configuration, queue, data and log in a temporary folder, on a port of its own; the system's Postfix, if one
runs, is not touched. It keeps its promises as any Postfix does: a mail is on disk (fsync) before it says 250, and what
the next hop defers stays in its queue and is tried again.

Postfix changes users by itself, so only root can start one.
"""

import os
import shutil
import signal
import smtplib
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from mailwarren.baselines import postfix_files

INSTALL = "sudo apt-get update && sudo apt-get install -y --no-install-recommends postfix"
_SETTINGS = (
    *("daemon_directory", "command_directory", "meta_directory", "shlib_directory"),
    *("mail_owner", "setgid_group"),
)
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0
_LIFETIME_SECONDS = 1800
"""It ends by itself after that, should whoever started it be killed."""


class NotStarted(RuntimeError):
    """Postfix did not come up; the text ends with what it said."""


def missing() -> str | None:
    """Why there can be no private Postfix here, and what to do; None when there can."""
    if _program("postfix") is None or _program("postconf") is None:
        return f"Postfix is not installed: {INSTALL}"
    if os.geteuid() != 0:
        return "only root can start a Postfix, a private one too: run the bench as root"
    return None


class PostfixRelay:
    """Start one, and stop it: a context manager.

    Args:
        port: on 127.0.0.1, free.
        relay: ``host:port`` of the next hop.
        connections: to it, at once.

    Raises:
        NotStarted: on entering; because of :func:`missing`, or the text has what Postfix said.
    """

    def __init__(self, port: int, relay: str, *, connections: int = postfix_files.CONCURRENCY) -> None:
        self.address = f"127.0.0.1:{port}"
        self._port = port
        self._relay = relay
        self._connections = connections
        self._home: Path | None = None
        self._master: subprocess.Popen[bytes] | None = None

    @property
    def pids(self) -> list[int]:
        """The master. Its children come and go, and it reaps them: their CPU is in its ``children_*`` times."""
        return [self._master.pid] if self._master is not None else []

    def __enter__(self) -> Self:
        if why := missing():
            raise NotStarted(why)
        # Not below a folder of root's: Postfix' own user has to reach its queue.
        self._home = Path(tempfile.mkdtemp(prefix="mailwarren-postfix-"))
        self._home.chmod(0o755)
        try:
            self._start(self._home)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End every process of it and remove its files, undelivered mail too."""
        if self._master is not None:
            self._master.send_signal(signal.SIGTERM)  # which it passes on to its children
            with suppress(subprocess.TimeoutExpired):
                self._master.wait(_STOP_SECONDS)
            with suppress(ProcessLookupError):
                os.killpg(self._master.pid, signal.SIGKILL)  # the master leads the group that all of them are in
            self._master.wait()
            self._master = None
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = None

    def said(self) -> str:
        """The end of its log."""
        logs = [self._home / name for name in ("start.log", "postfix.log")] if self._home else []
        return "\n".join(line for log in logs if log.exists() for line in log.read_text().splitlines()[-12:])

    def _start(self, home: Path) -> None:
        defaults = _defaults()
        folder = postfix_files.write(
            home, defaults, listen=self.address, relay=self._relay, connections=self._connections
        )
        (home / "spool").mkdir()
        (home / "data").mkdir()
        shutil.chown(home / "data", defaults["mail_owner"])
        with (home / "start.log").open("ab") as log:
            # Makes the queue's folders, with the owners and modes that Postfix wants.
            check = [str(_program("postfix")), "-c", str(folder), "check"]
            checked = subprocess.run(check, stdout=log, stderr=log, check=False)  # noqa: S603 - found on the PATH
            if checked.returncode == 0:
                self._master = subprocess.Popen(  # noqa: S603 - the package's own
                    [f"{defaults['daemon_directory']}/master", "-c", str(folder), "-s", "-e", str(_LIFETIME_SECONDS)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        self._wait_ready(home)

    def _wait_ready(self, home: Path) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._greets(home):
            status = self._master.poll() if self._master is not None else None
            if self._master is None or status is not None or time.monotonic() > deadline:
                # A master that cannot start has no logger yet, so often there is nothing more to say.
                raise NotStarted(f"Postfix does not answer on {self.address} (master's status {status})\n{self.said()}")
            time.sleep(0.02)

    def _greets(self, home: Path) -> bool:
        """Whether it is ours that answers: another server may have the port."""
        with suppress(OSError), smtplib.SMTP(local_hostname="bench.test", timeout=1) as connection:
            _, greeting = connection.connect("127.0.0.1", self._port)
            return str(home).encode() in greeting
        return False


def _defaults() -> dict[str, str]:
    command = [str(_program("postconf")), "-d", *_SETTINGS]
    asked = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - found on the PATH
    pairs = (line.partition("=") for line in asked.stdout.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
