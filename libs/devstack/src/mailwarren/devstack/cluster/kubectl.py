"""Commands of helm and kubectl: run, or only printed (``--plan``); and ports of Services, forwarded."""

import re
import shlex
import subprocess
import threading
from collections.abc import Sequence
from typing import Protocol

from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.terminal import say

_FORWARDED = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")
_FORWARD_SECONDS = 30.0


class CommandFailed(DevstackError):
    """A command ended with an error; the text is the command and what it said."""


class Commands(Protocol):
    """What runs commands."""

    def run(self, argv: Sequence[str], *, timeout: float = 120) -> str:
        """Its standard output; :class:`CommandFailed` when it ends with an error."""

    def forward(self, argv: Sequence[str]) -> "Forwarded":
        """A ``kubectl port-forward`` that runs until it is closed."""


class Forwarded:
    """A forwarded port. It ends when its pod goes away, and is opened again by the next question.

    Args:
        argv: ``kubectl … port-forward … :PORT``.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = list(argv)
        self._process: subprocess.Popen[str] | None = None
        self._port = 0
        self._lock = threading.Lock()

    def url(self) -> str:
        """``http://127.0.0.1:<port>``.

        Raises:
            CommandFailed: it cannot be opened.
        """
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._open()
            return f"http://127.0.0.1:{self._port}"

    def close(self) -> None:
        """Ends it."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.wait()
                self._process = None

    def _open(self) -> None:
        process = subprocess.Popen(self._argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said: list[str] = []
        found = threading.Event()

        def read() -> None:
            # It goes on to read: kubectl writes a line for every connection and would stop at a full pipe.
            for line in process.stdout or ():
                said.append(line)
                match = _FORWARDED.search(line)
                if match:
                    self._port = int(match[1])
                    found.set()
            found.set()

        threading.Thread(target=read, daemon=True).start()
        found.wait(_FORWARD_SECONDS)
        if not any(_FORWARDED.search(line) for line in said):
            process.kill()
            process.wait()
            raise CommandFailed(f"{shlex.join(self._argv)}: {''.join(said).strip() or 'it said nothing'}")
        self._process = process


class Run:
    """Runs them."""

    def run(self, argv: Sequence[str], *, timeout: float = 120) -> str:
        """See :class:`Commands`."""
        try:
            done = subprocess.run(list(argv), capture_output=True, text=True, timeout=timeout, check=False)
        except FileNotFoundError as error:
            raise CommandFailed(f"{argv[0]} is not installed") from error
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(f"{shlex.join(argv)}: not done after {timeout:.0f} s") from error
        if done.returncode != 0:
            raise CommandFailed(f"{shlex.join(argv)}: {(done.stderr + done.stdout).strip()[-2000:]}")
        return done.stdout

    def forward(self, argv: Sequence[str]) -> Forwarded:
        """See :class:`Commands`."""
        return Forwarded(argv)


class Plan:
    """Prints them, and runs none."""

    def run(self, argv: Sequence[str], *, timeout: float = 120) -> str:
        """Prints it; there is no output."""
        del timeout
        say(f"      {shlex.join(argv)}")
        return ""

    def forward(self, argv: Sequence[str]) -> Forwarded:
        """Prints it."""
        say(f"      {shlex.join(argv)} &")
        return Forwarded(argv)
