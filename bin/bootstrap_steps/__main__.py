"""Makes a fresh clone runnable: the system's packages, uv, and .venv from uv.lock.

Needs Python 3.11 and nothing else. Safe to run twice and from two shells at once. When nothing has changed since
the last run it looks at a few files and is done in a tenth of a second.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from progress import StepError, run_logged, say, step, tail
from system_packages import install_packages, missing_packages
from uv_tool import find_uv, has_ca_bundle, has_pip, install_uv

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / ".local"
VENV = ROOT / ".venv"
STAMP = LOCAL / "bootstrap.stamp"
IN_DOCKER = LOCAL / "rabbitmq-in-docker"
"""Exists when RabbitMQ's package could not be had and a Docker engine answered."""
TOOLS = LOCAL / "tools"
LOG = LOCAL / "log" / "bootstrap.log"


def main() -> int:
    """Runs the steps that are due; returns the process's exit status."""
    try:
        LOCAL.mkdir(exist_ok=True)
        if _is_ready():
            return 0
        with _only_one():
            if not _is_ready():
                _prepare()
    except StepError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except PermissionError as error:
        print(f"\n{error}\nThis clone belongs to somebody else: make one of your own.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again: it goes on where it stopped.", file=sys.stderr)
        return 130
    return 0


def _is_ready() -> bool:
    stamp = STAMP.read_text() if STAMP.exists() else ""
    if stamp != _fingerprint() or not (VENV / "bin" / "python").exists():
        return False
    missing = missing_packages(
        rabbitmq_needed=_needs_rabbitmq() and not IN_DOCKER.exists(),
        ca_bundle_needed=False,
        prometheus_needed=_needs_prometheus(),
        opendkim_needed=_needs_opendkim(),
        unbound_needed=_needs_unbound(),
    )
    return not missing


def _needs_prometheus() -> bool:
    """Only tests and `make monitor` do (`--with-prometheus`)."""
    return "--with-prometheus" in sys.argv[1:]


def _needs_opendkim() -> bool:
    """Only tests do (`--with-opendkim`)."""
    return "--with-opendkim" in sys.argv[1:]


def _needs_unbound() -> bool:
    """Only tests do (`--with-unbound`)."""
    return "--with-unbound" in sys.argv[1:]


def _needs_rabbitmq() -> bool:
    """Not when the user gives one, unless tests will stop one (`--with-rabbitmq`)."""
    return "--with-rabbitmq" in sys.argv[1:] or not os.environ.get("MAILWARREN_AMQP_URL")


def _prepare() -> None:
    uv = find_uv(TOOLS)
    needs_bundle = uv is None and not has_pip() and not has_ca_bundle()
    packages = missing_packages(
        rabbitmq_needed=_needs_rabbitmq(),
        ca_bundle_needed=needs_bundle,
        prometheus_needed=_needs_prometheus(),
        opendkim_needed=_needs_opendkim(),
        unbound_needed=_needs_unbound(),
    )
    IN_DOCKER.unlink(missing_ok=True)
    if packages and install_packages(packages, LOG):
        IN_DOCKER.touch()
    uv = uv or install_uv(TOOLS, LOG)
    _sync(uv)


def _sync(uv: str) -> None:
    """Makes .venv what uv.lock says. The stamp is away while that is not sure to be so."""
    fingerprint = _fingerprint()
    STAMP.unlink(missing_ok=True)
    if _was_made_elsewhere():
        shutil.rmtree(VENV)
    argv = [uv, "sync", "--frozen", "--project", str(ROOT), "--python", sys.executable]
    with step("Installing the Python packages of uv.lock into .venv"):
        if sys.stderr.isatty():
            status = subprocess.run(argv, env=_uv_environment(), stdin=subprocess.DEVNULL, check=False).returncode
        else:
            status = run_logged(argv, log=LOG, env=_uv_environment())
    if status != 0:
        detail = "" if sys.stderr.isatty() else f" The end of {LOG}:\n{tail(LOG)}"
        raise StepError(f"uv could not install the packages (exit status {status}).{detail}")
    STAMP.write_text(fingerprint)


def _was_made_elsewhere() -> bool:
    """A virtual environment holds absolute paths: one that came along with a moved clone is no good."""
    script = VENV / "bin" / "pytest"
    return script.exists() and str(VENV) not in script.read_text(errors="replace")[:400]


def _uv_environment() -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"}}
    env["UV_PYTHON_DOWNLOADS"] = "never"
    if has_ca_bundle():
        env.setdefault("UV_SYSTEM_CERTS", "1")
        if "SSL_CERT_FILE" not in env and env.get("PIP_CERT"):
            env["SSL_CERT_FILE"] = env["PIP_CERT"]
    cache = Path(env.get("XDG_CACHE_HOME") or Path(env.get("HOME") or "/nonexistent") / ".cache")
    if "UV_CACHE_DIR" not in env and not _can_write(cache):
        env["UV_CACHE_DIR"] = str(LOCAL / "cache" / "uv")
    return env


def _can_write(folder: Path) -> bool:
    """Whether files can be made in `folder`. It is tried: root's permission bits allow what a file system refuses."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _fingerprint() -> str:
    """Changes whenever .venv has to be looked at again."""
    digest = hashlib.sha256(f"{ROOT}\0{sys.executable}\0{sys.version}\0".encode())
    members = (
        path for pattern in ("libs/*", "services/*", "loadtest/*") for path in ROOT.glob(f"{pattern}/pyproject.toml")
    )
    for path in (ROOT / "uv.lock", ROOT / "pyproject.toml", *sorted(members)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def _only_one() -> Iterator[None]:
    """Holds the clone's lock; a second bootstrap waits, and says so."""
    with (LOCAL / "bootstrap.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another bootstrap of this clone is running; waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
