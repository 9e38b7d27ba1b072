"""What a run was measured on."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec
import psutil
from kombu import Connection

from mailwarren.bench.stand import Stand


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What the report's head says.

    Args:
        began: ISO 8601, UTC.
        command: that measures the same again.
        commit: of the source; with ``+`` when files differed from it.
        machine: its parts in words.
        versions: of what runs, by name.
        quick: the short grid.
    """

    began: str
    command: str
    commit: str
    machine: dict[str, str]
    versions: dict[str, str]
    quick: bool


def look(stand: Stand, *, command: str, quick: bool) -> Run:
    """Ask the machine, and the servers of a running stand."""
    (database,) = stand.system.query("show server_version")
    return Run(
        began=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        commit=commit(),
        machine=_machine(),
        versions={
            "Mailwarren": version("mailwarren-stress"),
            "Python": platform.python_version(),
            "RabbitMQ": _rabbitmq(stand),
            "Postgres": str(database["server_version"]),
            "Celery": version("celery"),
        },
        quick=quick,
    )


def _machine() -> dict[str, str]:
    return {
        "CPU": f"{os.cpu_count()} cores, {_cpu_model()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        "kernel": platform.release(),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _rabbitmq(stand: Stand) -> str:
    """As it says itself when a client connects."""
    with Connection(stand.amqp_url) as connection:
        connection.connect()
        return str(connection.connection.server_properties.get("version", "unknown"))


def commit() -> str:
    """The short id, or ``unknown`` outside of a clone."""
    here = Path(__file__).parent
    try:
        asked = ("git", "-C", str(here), "describe", "--always", "--dirty=+", "--exclude=*")
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
