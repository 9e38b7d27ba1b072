"""Builds the images with Podman, runs them with a real RabbitMQ and Postgres, and sends a thousand mails through.

Needs root and Debian, and nothing else: it installs Podman, and where no registry can be reached it makes a base image
of Debian's packages. It uses storage of its own in ``.local/podman``, kept as the cache of the next run. Run it as
``make images-test``.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from accounts import variables
from base import STAND_IN, base_image
from containers import Containers
from contents import check_image
from journey import run_journey
from podman import CheckError, Podman, apt_install, missing_packages
from report import Report

from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.leftovers import Scratch, remove_leftovers
from mailwarren.devstack.postgres import Postgres
from mailwarren.devstack.private_server import PrivateServer
from mailwarren.devstack.servers import private_rabbitmq
from mailwarren.devstack.state import LocalDir

ROOT = Path(__file__).resolve().parents[2]
TAG = "images-test"


def main() -> int:
    """Run all checks; the exit status is 0 when every line says PASS."""
    if os.geteuid() != 0:
        print(
            "images-test needs root: it makes containers as a cluster does. Try: sudo make images-test", file=sys.stderr
        )
        return 1
    report = Report()
    local = LocalDir(ROOT / ".local")
    local.make()
    started = time.monotonic()
    try:
        with ExitStack() as stack:
            _run(local, report, stack)
    except (CheckError, DevstackError, RuntimeError, TimeoutError, subprocess.TimeoutExpired) as error:
        report.check("the check could go on", ok=False, detail=error)
    except KeyboardInterrupt:
        print("\nInterrupted: containers and servers are gone.", file=sys.stderr)
        return 130
    verdict = "PASSED" if report.status == 0 else "FAILED"
    print(f"images-test {verdict}: {report.passed} passed, {report.failed} failed, {time.monotonic() - started:.0f} s")
    return report.status


def _run(local: LocalDir, report: Report, stack: ExitStack) -> None:
    log = local.log("images-test")
    log.write_bytes(b"")
    if packages := missing_packages():
        with report.step(f"Installing {', '.join(packages)}"):
            apt_install(packages, log)
    podman = Podman(local.path / "podman")
    podman.remove_containers()
    stack.callback(podman.remove_containers)
    with report.step("The base image: from its registry, else of Debian's packages (some minutes, once)"):
        base = base_image(podman, ROOT, log)
        print(f"    {base}{', a stand-in for python:3.11-slim' if base == STAND_IN else ''}")
    with report.step("Building the images"):
        env = {**podman.env, "ENGINE": "podman", "TAG": TAG, "PYTHON_IMAGE": base, "REGISTRY": ""}
        if subprocess.run(["bin/images"], cwd=ROOT, env=env, stdin=subprocess.DEVNULL, check=False).returncode:
            raise CheckError("an image could not be built")
    podman.run("image", "prune", "--force", "--filter", "until=168h")  # the rest is the cache of the next build
    containers = Containers(podman, TAG)
    base_octets = podman.inspect("image", base)["Size"]
    for service in _services():
        check_image(containers, service, base_octets, report)
    with report.step("Starting a private RabbitMQ and Postgres"):
        remove_leftovers(local)
        scratch = Scratch(local)
        stack.callback(scratch.remove)
        broker = private_rabbitmq(scratch.home("rabbitmq"))
        database = Postgres(scratch.home("postgres"))
        _start(broker, scratch, stack.callback)
        _start(database, scratch, stack.callback)
    token = f"mw_{secrets.token_hex(24)}"
    containers.env["MAILWARREN_RETRY_SCALE"] = "0.01"
    containers.accounts = variables(broker.amqp_url, broker.management_url, database.database_url)
    containers.accounts["setup"]["FIRST_KEY"] = token
    with report.step("A thousand mails through the containers"):
        run_journey(containers, scratch.path, token, report)


def _services() -> list[str]:
    """The stages of the Dockerfile that are services."""
    return re.findall(r"^FROM runtime AS ([a-z]+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


def _start(server: PrivateServer, scratch: Scratch, at_the_end: Callable[[Callable[[], None]], object]) -> None:
    at_the_end(server.kill)
    server.start()
    for pid in server.pids:
        scratch.record(pid, server.NAME)


if __name__ == "__main__":
    sys.exit(main())
