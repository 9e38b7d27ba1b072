"""The services as containers, under the restrictions that a cluster puts on them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import httpx
from podman import LABEL, CheckError, Podman

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.topology import send_queue_names
from mailwarren.devstack.ports import free_ports

RESTRICTED = (
    *("--user", "10001:10001", "--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp:rw,mode=1777,size=64m"),  # noqa: S108
    *("--cap-drop", "all", "--security-opt", "no-new-privileges", "--network", "host", "--label", LABEL),
)
# What has to run before the services, each the words after ``mailwarren``.
SETUP: tuple[tuple[str, ...], ...] = (
    ("setup", "--wait", "60"),
    ("keys", "bootstrap", "--name", "images-test", "--token-env", "FIRST_KEY"),
)
GRACE = {"sender": 90, "ingest": 40, "tracker": 40, "flower": 30, "sink": 10, "load": 120}
_READY_SECONDS = 60.0


class Containers:
    """Starts and stops them.

    Args:
        podman: whose storage has the images.
        tag: of the images.
    """

    def __init__(self, podman: Podman, tag: str) -> None:
        self.podman = podman
        self.tag = tag
        self.env: dict[str, str] = {}
        """Settings that all services get."""
        self.accounts: dict[str, dict[str, str]] = {}
        """Of each service, and of ``setup``, the servers as its account."""
        self.addresses: dict[str, str] = {}

    def image(self, service: str) -> str:
        """Its full name in the storage."""
        return f"localhost/mailwarren-{service}:{self.tag}"

    def start(self, name: str, service: str, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        """Run a service in the background; returns the name."""
        options, settings = self._settings(service, env or {})
        start = ("run", "--detach", "--name", name, *RESTRICTED, *options)
        self.podman.run(*start, self.image(service), *arguments, env=settings)
        return name

    def once(self, service: str, program: str, *arguments: str, account: str = "") -> str:
        """Run one program of an image to its end; returns its standard output.

        Args:
            service: whose image.
            program: its path.
            arguments: its arguments.
            account: whose account it has.

        Raises:
            CheckError: it did not end with 0.
        """
        options, settings = self._settings(account, {})
        entry = ("run", "--rm", *RESTRICTED, *options, "--entrypoint", program)
        return self.podman.run(*entry, self.image(service), *arguments, env=settings)

    def mailwarren(self, *words: str) -> str:
        """The operator's command, from the ingest image."""
        return self.once("ingest", "/app/bin/mailwarren", *words, account="setup")

    def start_ingest(self) -> str:
        """The API; its address is in ``addresses``."""
        api, metrics = free_ports(2)
        own = {"MAILWARREN_API_PORT": str(api), "MAILWARREN_METRICS_PORT": str(metrics)}
        return self._expect(self.start("ingest", "ingest", env=own), api)

    def start_tracker(self) -> str:
        """The tracker."""
        (port,) = free_ports(1)
        return self._expect(self.start("tracker", "tracker", env={"MAILWARREN_METRICS_PORT": str(port)}), port)

    def start_sender(self, name: str) -> str:
        """A sender for all queues."""
        (port,) = free_ports(1)
        arguments = ("-Q", ",".join(send_queue_names(list(Lane))), "-n", f"{name}@%h")
        return self._expect(self.start(name, "sender", *arguments, env={"MAILWARREN_METRICS_PORT": str(port)}), port)

    def start_sink(self) -> tuple[str, str]:
        """The sink; returns its SMTP and its HTTP address."""
        smtp, http = free_ports(2)
        self.start("sink", "sink", "--smtp", f"127.0.0.1:{smtp}", "--http", f"127.0.0.1:{http}")
        self.addresses["sink"] = f"http://127.0.0.1:{http}/stats"
        return f"smtp://127.0.0.1:{smtp}", f"http://127.0.0.1:{http}"

    def wait_ready(self, name: str) -> float:
        """Return when it is ready, with the seconds that took.

        Raises:
            CheckError: it ended, or was not ready in time; with the end of its log.
        """
        started = time.monotonic()
        while time.monotonic() - started < _READY_SECONDS:
            try:
                if httpx.get(self.addresses[name], timeout=2).is_success:
                    return time.monotonic() - started
            except httpx.HTTPError:
                pass
            if not self.state(name)["Running"]:
                raise CheckError(f"{name} ended instead of getting ready:\n{self.log_end(name)}")
            time.sleep(0.2)
        raise CheckError(f"{name} was not ready in {_READY_SECONDS:.0f} s:\n{self.log_end(name)}")

    def state(self, name: str) -> Mapping[str, object]:
        """Whether it runs, and how it ended."""
        found: Mapping[str, object] = self.podman.inspect("container", name)["State"]
        return found

    def stop(self, name: str, service: str) -> tuple[object, float]:
        """SIGTERM as a cluster does it; returns exit code and seconds. 137 is a SIGKILL after the grace."""
        started = time.monotonic()
        grace = GRACE[service]
        self.podman.run("stop", "--time", str(grace), name, timeout=grace + 30)
        return self.state(name)["ExitCode"], time.monotonic() - started

    def log(self, name: str) -> str:
        """All that it wrote."""
        done = self.podman.try_run("logs", name)
        return done.stdout + done.stderr

    def log_end(self, name: str, lines: int = 15) -> str:
        """The last lines, indented."""
        return "\n".join(f"    | {line}" for line in self.log(name).splitlines()[-lines:])

    def _expect(self, name: str, port: int) -> str:
        self.addresses[name] = f"http://127.0.0.1:{port}/readyz"
        return name

    def _settings(self, account: str, own: Mapping[str, str]) -> tuple[Sequence[str], Mapping[str, str]]:
        """Names only on the command line, which everybody on the machine can read; the values hold passwords."""
        settings = {**self.env, **self.accounts.get(account, {}), **own}
        return [word for name in settings for word in ("--env", name)], settings
