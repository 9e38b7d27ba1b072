"""Where the system's RabbitMQ lies, and a folder with only the plugins that a private node loads.

At boot RabbitMQ reads every module of every application on its path. With Debian's 60 plugins that is most of the
start: 6.0 s on a quiet 2-core machine, 3.4 s with the 29 that management and prometheus need.
"""

import re
from dataclasses import dataclass
from pathlib import Path

SERVERS = Path("/usr/lib/rabbitmq/lib")
PLUGINS = ("rabbitmq_management", "rabbitmq_prometheus")
"""Stream queues are part of the core: reading one over AMQP needs no plugin."""
_ALWAYS = ("rabbit", "rabbitmq_prelaunch")
_DEPENDENCIES = re.compile(r"\{\s*(?:applications|included_applications|optional_applications)\s*,\s*\[([^\]]*)\]")


@dataclass(frozen=True)
class Installation:
    """A RabbitMQ from the system's packages."""

    home: Path

    @property
    def plugins(self) -> Path:
        """The applications: one folder ``name-version`` for each."""
        return self.home / "plugins"

    @property
    def version(self) -> str:
        """Such as ``3.10.8``."""
        return self.home.name.removeprefix("rabbitmq_server-")


def find_installation(servers: Path = SERVERS) -> Installation | None:
    """The newest RabbitMQ installed, or None."""
    homes = [path.parent for path in servers.glob("rabbitmq_server-*/sbin")]
    return Installation(max(homes, key=_version_key)) if homes else None


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
        return installation.plugins
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name in needed:
        (folder / folders[name].name).symlink_to(folders[name])
    return folder


def _dependencies(app: Path) -> list[str]:
    text = app.read_text(errors="replace") if app.exists() else ""
    return [name for listed in _DEPENDENCIES.findall(text) for name in re.findall(r"[a-z]\w*", listed)]


def _version_key(home: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", home.name))
