"""The base image: python:3.11-slim of a registry, or a stand-in made of Debian's packages where none can be reached."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from podman import CheckError, Podman, apt_install

STAND_IN = "localhost/mailwarren-base:bookworm"
_PULL_SECONDS = 120
_INCLUDE = "python3,python3-venv,ca-certificates"
# The official image has these names; Debian's packages have python3 only.
_LINKS = {"usr/local/bin/python": "/usr/bin/python3", "usr/local/bin/python3": "/usr/bin/python3"}
_NOT_NEEDED = ("var/cache/apt/archives/*.deb", "var/cache/apt/*.bin", "var/lib/apt/lists/*_*", "var/log/*.log")


def base_image(podman: Podman, root: Path, log: Path) -> str:
    """The name of an image that is in the storage now.

    Raises:
        CheckError: neither a registry nor Debian's packages can be had.
    """
    wanted = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", (root / "Dockerfile").read_text(), re.MULTILINE)
    if wanted is None:
        raise CheckError("The Dockerfile names no PYTHON_IMAGE.")
    if podman.exists(wanted[1]):
        return wanted[1]
    if podman.exists(STAND_IN):
        return STAND_IN
    try:
        pulled = podman.try_run("pull", "--quiet", wanted[1], timeout=_PULL_SECONDS)
    except subprocess.TimeoutExpired:
        pulled = None
    if pulled is not None and pulled.returncode == 0:
        return wanted[1]
    with log.open("a") as out:
        out.write(f"podman pull {wanted[1]}: {pulled.stderr if pulled else f'no answer in {_PULL_SECONDS} s'}\n")
    tar = _cache() / f"base-bookworm-{os.uname().machine}.tar"
    if not tar.exists():
        _make(tar, log)
    podman.run("import", "--change", 'CMD ["/bin/bash"]', str(tar), STAND_IN, timeout=300)
    return STAND_IN


def _cache() -> Path:
    """Outside of the clone: it takes minutes to make, and ``make clean`` is no reason to make it again."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mailwarren"
    home.mkdir(parents=True, exist_ok=True)
    return home


def _mirror() -> list[str]:
    """Where this machine's own packages come from."""
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    found = re.search(r"^URIs:\s*(\S+)", sources.read_text(), re.MULTILINE) if sources.exists() else None
    return [found[1]] if found else []


def _make(tar: Path, log: Path) -> None:
    if shutil.which("debootstrap") is None:
        apt_install(["debootstrap"], log)
    with tempfile.TemporaryDirectory(prefix="mailwarren-base-") as folder, log.open("ab") as out:
        tree = Path(folder) / "root"
        argv = ["debootstrap", "--variant=minbase", f"--include={_INCLUDE}", "bookworm", str(tree), *_mirror()]
        if subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False).returncode:
            raise CheckError(f"No registry can be reached, and debootstrap could not make a base either: see {log}.")
        for pattern in _NOT_NEEDED:
            for path in tree.glob(pattern):
                path.unlink()
        for link, target in _LINKS.items():
            (tree / link).symlink_to(target)
        partial = tar.with_suffix(".part")
        subprocess.run(["tar", "-C", str(tree), "-cf", str(partial), "."], check=True)
        partial.replace(tar)
