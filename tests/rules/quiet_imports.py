"""Run by ``test_quiet_imports``: imports every module of a package and prints what they did beside being imported.

``python quiet_imports.py PACKAGE [FOLDER]``; FOLDER is put on the path. Prints ``{"modules": n, "deeds": [...]}``.
"""

import importlib
import json
import os
import pkgutil
import sys
import threading
from typing import Any

FORBIDDEN = {
    "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg",
    "subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.kill",
    "os.mkdir", "os.rmdir", "os.remove", "os.rename", "os.link", "os.symlink", "os.chmod", "os.truncate",
    "os.putenv", "os.unsetenv", "shutil.rmtree", "shutil.copyfile", "tempfile.mkstemp", "tempfile.mkdtemp",
    "sqlite3.connect", "_thread.start_new_thread",
}  # fmt: skip

deeds: list[str] = []
importing: list[str] = []


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook (PEP 578)."""
    if importing and (event in FORBIDDEN or (event == "open" and writes(arguments))):
        deeds.append(f"{importing[-1]}: {event} {str(arguments[:1])[:80]}")


def writes(arguments: tuple[Any, ...]) -> bool:
    """Whether an ``open`` event may change a file. With flags it is ``os.open``, else a mode such as ``"wb"``."""
    path, mode, flags = arguments
    if path == os.devnull or isinstance(path, int):
        return False
    if isinstance(mode, str):
        return bool(set(mode) & set("wxa+"))
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def names(package: str) -> list[str]:
    """The package and every module below, but those that are programs."""
    below = pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
    return [name for name in (package, *(module.name for module in below)) if not name.endswith("__main__")]


def main() -> None:
    """Import all, and say what happened."""
    package, *folder = sys.argv[1:]
    sys.path[:0] = folder
    sys.addaudithook(watch)
    importing.append(package)
    modules = names(package)
    for name in modules:
        importing.append(name)
        importlib.import_module(name)
        threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
        deeds.extend(f"{name}: left the thread {thread} running" for thread in threads)
    importing.clear()
    print(json.dumps({"modules": modules, "deeds": deeds}))


if __name__ == "__main__":
    main()
