"""The few things that only the system's package manager can give, and how to get them without starting a service."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from progress import StepError, run_logged, say, step, tail

RABBITMQ_GLOB = "usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"
PROMTOOL = "promtool"
OPENDKIM = Path("/usr/sbin/opendkim")
UNBOUND = Path("/usr/sbin/unbound")
_POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT = (
    "#!/bin/sh\n# Put here by Mailwarren's bootstrap while it installs a package; safe to delete.\nexit 101\n"
)
_UNITS = (
    "rabbitmq-server.service",
    "epmd.service",
    "epmd.socket",
    "prometheus.service",
    "opendkim.service",
    "unbound.service",
)
_UNIT_FOLDERS = (Path("/lib/systemd/system"), Path("/usr/lib/systemd/system"))


def missing_packages(
    *,
    rabbitmq_needed: bool,
    ca_bundle_needed: bool,
    prometheus_needed: bool = False,
    opendkim_needed: bool = False,
    unbound_needed: bool = False,
) -> list[str]:
    """Names of the Debian packages that have to be installed, in the order to say them."""
    needed = []
    if rabbitmq_needed and not any(Path("/").glob(RABBITMQ_GLOB)):
        needed.append("rabbitmq-server")
    if prometheus_needed and shutil.which(PROMTOOL) is None:
        needed.append("prometheus")
    # Not by the PATH, on which users other than root do not have that folder.
    if opendkim_needed and not OPENDKIM.exists() and shutil.which("opendkim") is None:
        needed.append("opendkim")
    if unbound_needed and not UNBOUND.exists() and shutil.which("unbound") is None:
        needed.append("unbound")
    if ca_bundle_needed:
        needed.append("ca-certificates")
    return needed


def install_packages(packages: Sequence[str], log: Path) -> bool:
    """Makes `packages` present, or settles for Docker in place of RabbitMQ's package.

    Returns:
        Whether RabbitMQ will run in Docker.

    Raises:
        StepError: this user may not install them, or apt-get could not; the message has the one line to run.
    """
    rest = [name for name in packages if name != "rabbitmq-server"]
    can_install = os.geteuid() == 0 and shutil.which("apt-get") is not None
    if not can_install:
        in_docker = "rabbitmq-server" in packages and docker_answers()
        if in_docker and not rest:
            say("RabbitMQ is not installed here; it will run in Docker.")
            return True
        raise StepError(_what_to_do(rest if in_docker else packages))
    if _apt_install(packages, log):
        return False
    if "rabbitmq-server" in packages and docker_answers() and (not rest or _apt_install(rest, log)):
        say("RabbitMQ's package cannot be installed here; it will run in Docker.")
        return True
    raise StepError(f"apt-get could not install {' '.join(packages)}. The end of {log}:\n{tail(log)}")


def docker_answers() -> bool:
    """Whether a Docker engine is there for this user."""
    if shutil.which("docker") is None:
        return False
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=15, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _what_to_do(packages: Sequence[str]) -> str:
    names = " ".join(packages)
    if shutil.which("apt-get") is None:
        return f"These are missing and there is no apt-get to install them: {names}.\n" + _instead_without_apt(packages)
    lines = [
        f"Missing: {names}. Run this once, then the same make command again:",
        "",
        f"  sudo apt-get update && sudo apt-get install -y --no-install-recommends {names}",
        "",
    ]
    if "rabbitmq-server" in packages:
        lines += [
            "Mailwarren runs a private RabbitMQ of its own from that package, as you, and never uses the system's;",
            "Debian starts that one too: 'sudo systemctl disable --now rabbitmq-server' stops it for good.",
            "Instead of the package, a running Docker engine or MAILWARREN_AMQP_URL=amqp://... will do as well.",
        ]
    if "prometheus" in packages:
        lines += [
            "Only tests and 'make monitor' need Prometheus: they start private ones. Debian starts one as well:",
            "'sudo systemctl disable --now prometheus' stops it for good.",
        ]
    if "opendkim" in packages:
        lines += [
            "Only tests need OpenDKIM, as a verifier of signatures that is not ours; they start no service of it.",
            "'sudo systemctl disable --now opendkim' stops the one that Debian starts.",
        ]
    if "unbound" in packages:
        lines += [
            "Only tests need Unbound, as a resolver that validates DNSSEC; they start private ones.",
            "'sudo systemctl disable --now unbound' stops the one that Debian starts.",
        ]
    return "\n".join(lines)


def _instead_without_apt(packages: Sequence[str]) -> str:
    """What will do as well where there is no apt-get, for each package that is missing."""
    ways = []
    if "rabbitmq-server" in packages:
        ways.append("Start Docker, or set MAILWARREN_AMQP_URL to a RabbitMQ of yours, and run this again.")
    if "prometheus" in packages:
        ways.append("Put prometheus and promtool (2.42 or later) on the PATH.")
    if "opendkim" in packages:
        ways.append("Put opendkim (2.11 or later) on the PATH.")
    if "unbound" in packages:
        ways.append("Put unbound (1.17 or later) on the PATH.")
    return "\n".join(ways)


def _apt_install(packages: Sequence[str], log: Path) -> bool:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    lock = ["-o", "DPkg::Lock::Timeout=300"]
    with step("Reading the system's package lists (apt-get update)"):
        # Its status says little: one unreachable source of the user's, unrelated to us, makes it fail.
        run_logged(["apt-get", "update", *lock], log=log, env=env)
    units_before = _present_units()
    with step(f"Installing {' '.join(packages)} (apt-get install)"), _services_stay_stopped():
        install = ["apt-get", "install", "-y", "--no-install-recommends", *lock, *packages]
        installed = run_logged(install, log=log, env=env) == 0
    _keep_disabled(_present_units() - units_before, log)
    return installed


def _present_units() -> set[str]:
    return {unit for unit in _UNITS if any((folder / unit).exists() for folder in _UNIT_FOLDERS)}


def _keep_disabled(units: set[str], log: Path) -> None:
    """Debian enables a new service for the next boot: undo that for those that came with our packages."""
    if units and shutil.which("systemctl"):
        run_logged(["systemctl", "disable", *sorted(units)], log=log)


@contextmanager
def _services_stay_stopped() -> Iterator[None]:
    """A policy-rc.d that forbids starting services, unless the machine has one; gone afterwards, also on ^C."""
    left_over = _POLICY.exists() and _POLICY.read_text(errors="replace") == _POLICY_TEXT
    if _POLICY.exists() and not left_over:
        yield
        return

    def interrupt(signum: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        _POLICY.write_text(_POLICY_TEXT)
        _POLICY.chmod(0o755)
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
        for number, handler in previous.items():
            signal.signal(number, handler)
