"""Where the system's RabbitMQ lies, and a folder with only the plugins that a private node loads.

At boot RabbitMQ reads every module of every application on its path. With Debian's 60 plugins that is most of the
start: 6.0 s on a quiet 2-core machine, 3.4 s with the 29 that management and prometheus need.
"""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from mailwarren.devstack.errors import DevstackError

ROOT = "MAILWARREN_RABBITMQ_ROOT"
"""Names the root of another Debian, whose RabbitMQ is used instead of the system's (``bin/rabbitmq4`` makes one)."""
SERVERS = Path("usr/lib/rabbitmq/lib")
PLUGINS = ("rabbitmq_management", "rabbitmq_prometheus")
"""Stream queues are part of the core: reading one over AMQP needs no plugin."""
_ALWAYS = ("rabbit", "rabbitmq_prelaunch")
_DEPENDENCIES = re.compile(r"\{\s*(?:applications|included_applications|optional_applications)\s*,\s*\[([^\]]*)\]")


_BORROW_USR = ("/usr/bin/unshare", "--mount", "sh", "-c", 'mount --bind "$0/usr" /usr && exec "$@"')
"""In a mount namespace of its own the process has the other Debian's programs and libraries, and all else as we do:
the same files, ports and process ids. A newer RabbitMQ needs a newer libc; a chroot would hide its data from us."""


@dataclass(frozen=True)
class Installation:
    """A RabbitMQ from Debian's packages.

    Args:
        home: where it lies, as we see it.
        root: of the Debian that it is part of.
    """

    home: Path
    root: Path = Path("/")

    @property
    def inner_home(self) -> Path:
        """Where it lies, as its own processes see it."""
        return self.inner(self.home)

    def inner(self, path: Path) -> Path:
        """A path of ours below ``root``, as its own processes see it."""
        return Path("/") / path.relative_to(self.root)

    def argv(self, program: str, *arguments: str) -> tuple[str, ...]:
        """The command that starts one of Erlang's programs. It execs, so what is started is that program.

        Raises:
            DevstackError: there is no such program.
        """
        if self.root == Path("/"):
            found = shutil.which(program, path="/usr/bin:/usr/local/bin:/usr/lib/erlang/bin") or shutil.which(program)
            if found is None:
                raise DevstackError(f"RabbitMQ is installed but Erlang's {program} is not on the PATH.")
            return (found, *arguments)
        if not (self.root / "usr/bin" / program).exists():
            raise DevstackError(f"there is no {program} in {self.root}/usr/bin ({ROOT}).")
        return (*_BORROW_USR, str(self.root), f"/usr/bin/{program}", *arguments)

    @property
    def plugins(self) -> Path:
        """The applications: one folder ``name-version`` for each."""
        return self.home / "plugins"

    @property
    def version(self) -> str:
        """Such as ``3.10.8``."""
        return self.home.name.removeprefix("rabbitmq_server-")


def find_installation(root: Path | None = None) -> Installation | None:
    """The newest RabbitMQ installed, or None: below ``root``, else below what ``ROOT`` names, else the system's."""
    root = root or Path(os.environ.get(ROOT) or "/")
    homes = [path.parent for path in (root / SERVERS).glob("rabbitmq_server-*/sbin")]
    return Installation(max(homes, key=_version_key), root) if homes else None


def link_plugins(installation: Installation, folder: Path) -> Path:
    """Fills ``folder`` with links to the applications that ``PLUGINS`` need, and returns it.

    Returns the installation's own folder, which is only slower, when it is laid out in another way than expected.
    """
    folders = {path.name.rpartition("-")[0]: path for path in installation.plugins.glob("*-*") if path.is_dir()}
    needed: set[str] = set()
    waiting = [*_ALWAYS, *PLUGINS]
    while waiting:
        name = waiting.pop()
        if name in needed or name not in folders:
            continue
        needed.add(name)
        waiting += _dependencies(folders[name] / "ebin" / f"{name}.app")
    if not needed.issuperset({*_ALWAYS, *PLUGINS}):
        return installation.inner(installation.plugins)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name in needed:
        (folder / folders[name].name).symlink_to(installation.inner(folders[name]))
    return folder


def _dependencies(app: Path) -> list[str]:
    text = app.read_text(errors="replace") if app.exists() else ""
    return [name for listed in _DEPENDENCIES.findall(text) for name in re.findall(r"[a-z]\w*", listed)]


def _version_key(home: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", home.name))
