"""A Podman of this clone's own: storage and settings below ``.local``, nothing of the machine's is touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LABEL = "mailwarren=images-test"
_PACKAGES = {"podman": "podman", "runc": "runc", "/usr/lib/podman/netavark": "netavark"}
# runc: Debian 12's crun refuses a machine with both versions of cgroups. The limits: where raising them is not
# allowed, Podman's own defaults would end every start.
_CONTAINERS = """\
[containers]
netns = "host"
default_sysctls = []
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
"""
_STORAGE = '[storage]\ndriver = "overlay"\ngraphroot = "{home}/graph"\nrunroot = "{home}/run"\n'


class CheckError(Exception):
    """The check cannot go on; the message says why and what to do."""


def missing_packages() -> list[str]:
    """Debian packages that have to be installed first."""
    return [package for program, package in _PACKAGES.items() if shutil.which(program) is None]


def apt_install(packages: Sequence[str], log: Path) -> None:
    """Install Debian packages.

    Raises:
        CheckError: there is no apt-get, or it failed.
    """
    if shutil.which("apt-get") is None:
        raise CheckError(f"This check installs {' '.join(packages)} with apt-get, and there is none: it needs Debian.")
    options = ("-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300")
    with log.open("ab") as out:
        for argv in (["apt-get", "update", "-q"], ["apt-get", "install", *options, *packages]):
            done = subprocess.run(
                argv,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                check=False,
            )
            if done.returncode:
                raise CheckError(f"{' '.join(argv)} ended with {done.returncode}; its output is in {log}.")


class Podman:
    """Runs podman with this clone's storage.

    Args:
        home: the folder that holds it.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        for folder in ("scratch", "xdg"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        settings = {
            "storage.conf": _STORAGE.format(home=home),
            "containers.conf": _CONTAINERS,
            "registries.conf": "unqualified-search-registries = []\n",
        }
        for name, text in settings.items():
            (home / name).write_text(text)
        self.env = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(home / "storage.conf"),
            "CONTAINERS_CONF": str(home / "containers.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(home / "registries.conf"),
            "XDG_RUNTIME_DIR": str(home / "xdg"),
            "TMPDIR": str(home / "scratch"),
        }

    def try_run(
        self, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """One podman command; raises nothing for its exit status."""
        return subprocess.run(
            ["podman", *arguments],
            env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def run(self, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 120) -> str:
        """One podman command that has to succeed; returns its standard output.

        Raises:
            CheckError: it did not.
        """
        done = self.try_run(*arguments, env=env, timeout=timeout)
        if done.returncode:
            raise CheckError(f"podman {' '.join(arguments[:2])} ended with {done.returncode}:\n{done.stderr.strip()}")
        return done.stdout.strip()

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        """What podman knows about an ``image`` or a ``container``."""
        (found,) = json.loads(self.run(kind, "inspect", name))
        assert isinstance(found, dict)  # noqa: S101 - podman's answer is a list of objects
        return found

    def exists(self, image: str) -> bool:
        """Whether the image is in the storage."""
        return self.try_run("image", "exists", image).returncode == 0

    def remove_containers(self) -> None:
        """Delete all containers of this check, also those of a run that was killed."""
        found = self.run("ps", "--all", "--quiet", "--filter", f"label={LABEL}").split()
        if found:
            self.run("rm", "--force", "--time", "0", *found)
