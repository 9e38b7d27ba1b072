"""Finds uv, or fetches it into .local/tools: with pip where there is pip, else with the standard library alone."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from progress import StepError, run_logged, step

UV_VERSION = "0.13.9"
"""The version that wrote uv.lock; a uv of the user's own is taken from `OLDEST_UV` on."""
OLDEST_UV = (0, 9)
_INDEX = "https://pypi.org/simple"
_JSON_INDEX = "application/vnd.pypi.simple.v1+json"
_TIMEOUT_SECONDS = 60
_CA_BUNDLE_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")


def find_uv(tools: Path) -> str | None:
    """A uv that is new enough: the user's own, else the one that an earlier run put into `tools`."""
    for candidate in (shutil.which("uv"), str(tools / "bin" / "uv")):
        if candidate and _version_of(candidate) >= OLDEST_UV:
            return candidate
    return None


def has_pip() -> bool:
    """Whether this Python can run `-m pip`; Debian's python3 often cannot."""
    return subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0


def has_ca_bundle() -> bool:
    """Whether the standard library could verify an https server."""
    if any(Path(os.environ[name]).is_file() for name in _CA_BUNDLE_VARIABLES if os.environ.get(name)):
        return True
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile) or bool(paths.capath and any(Path(paths.capath).glob("*.0")))


def install_uv(tools: Path, log: Path) -> str:
    """Puts uv into `tools`; returns its path.

    Raises:
        StepError: no index answered, or what it gave has another checksum.
    """
    binary = tools / "bin" / "uv"
    if has_pip():
        with step(f"Fetching uv {UV_VERSION} with pip"):
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
            status = run_logged([*pip, "--target", str(tools), f"uv=={UV_VERSION}"], log=log)
        if status == 0 and binary.exists():
            return str(binary)
    with step(f"Fetching uv {UV_VERSION} from the package index"):
        _unpack(_download_wheel(), binary)
    return str(binary)


def choose_wheel(files: Iterable[Mapping[str, Any]], *, machine: str, libc: str) -> Mapping[str, Any] | None:
    """The index entry of the uv wheel for this machine, or None.

    Args:
        files: entries of a PEP 691 answer (`filename`, `url`, `hashes`, `yanked`).
        machine: `platform.machine()`, such as `x86_64` or `aarch64`.
        libc: `glibc` or `musl`. uv's musl builds are static, so they are glibc's second choice.
    """
    arch = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine.lower(), machine.lower())
    wheels = []
    for entry in files:
        match = re.fullmatch(rf"uv-{re.escape(UV_VERSION)}-py3-none-(\S+)\.whl", entry["filename"])
        tags = match[1].split(".") if match and not entry.get("yanked") else []
        linux = (re.fullmatch(rf"(manylinux|musllinux)\d*(?:_\d+_\d+)?_{re.escape(arch)}", tag) for tag in tags)
        families = {found[1] for found in linux if found}
        wheels.append((families, entry))
    for family in ("musllinux",) if libc == "musl" else ("manylinux", "musllinux"):
        for families, entry in wheels:
            if family in families:
                return entry
    return None


def _version_of(uv: str) -> tuple[int, ...]:
    try:
        said = subprocess.run([uv, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    match = re.match(r"uv (\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else ()


def _download_wheel() -> bytes:
    index = (
        os.environ.get("UV_DEFAULT_INDEX")
        or os.environ.get("UV_INDEX_URL")
        or os.environ.get("PIP_INDEX_URL")
        or _INDEX
    )
    page = f"{index.rstrip('/')}/uv/"
    try:
        files = json.loads(_get(page, accept=_JSON_INDEX))["files"]
        libc = "glibc" if platform.libc_ver()[0] == "glibc" else "musl"
        wheel = choose_wheel(files, machine=platform.machine(), libc=libc)
        if wheel is None:
            raise StepError(f"{page} has no uv {UV_VERSION} for {platform.machine()}: install uv, and run this again.")
        body = _get(urljoin(page, wheel["url"]))
    except (OSError, ValueError, KeyError) as error:
        raise StepError(
            f"Could not fetch uv from {page}: {error}\n"
            "Behind a proxy set HTTPS_PROXY; with a certificate authority of your own set SSL_CERT_FILE; "
            "with an index of your own set PIP_INDEX_URL. Or install uv yourself, and run this again."
        ) from error
    expected = wheel.get("hashes", {}).get("sha256")
    if hashlib.sha256(body).hexdigest() != expected:
        raise StepError(f"{wheel['filename']} from {page} does not have the checksum that the index gives for it.")
    return body


def _get(url: str, *, accept: str = "*/*") -> bytes:
    bundle = next((os.environ[name] for name in _CA_BUNDLE_VARIABLES if os.environ.get(name)), None)
    context = ssl.create_default_context(cafile=bundle)
    request = urllib.request.Request(url, headers={"Accept": accept, "User-Agent": "mailwarren-bootstrap"})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS, context=context) as answer:
        body: bytes = answer.read()
    return body


def _unpack(wheel: bytes, binary: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        content = archive.read(f"uv-{UV_VERSION}.data/scripts/uv")
    binary.parent.mkdir(parents=True, exist_ok=True)
    partial = binary.with_suffix(".partial")
    partial.write_bytes(content)
    partial.chmod(0o755)
    partial.replace(binary)
