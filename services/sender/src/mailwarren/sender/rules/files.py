"""One file of rules on disk: is it another one than before, and can it be obeyed?

A kubelet puts a new ConfigMap in place by renaming the symbolic link ``..data``, and people edit files in place; so
what counts is the file that the path leads to, by its inode, size and time, and then its content.
"""

import hashlib
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from mailwarren.sender.rules.document import MOST_OCTETS, RulesError

T = TypeVar("T")

Identity = tuple[int, ...]

ABSENT: Identity = ()


@dataclass(frozen=True, slots=True)
class Loaded(Generic[T]):
    """Rules to be put in force; ``digest`` is of the file's content, None for the built-in rules alone."""

    value: T
    digest: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """What lies there cannot be obeyed."""

    reason: str
    digest: str | None


class RulesFile(Generic[T]):
    """Looks at one file. Not for two threads at a time.

    Args:
        name: What it is, in logs and metrics.
        path: Where; None or an absent file stand for the built-in rules.
        read: Makes rules of the content (None: of the built-in rules alone), or raises ``RulesError``.
    """

    def __init__(self, name: str, path: Path | None, read: Callable[[bytes | None], T]) -> None:
        self.name = name
        self.path = path
        self._read = read
        self._seen: Identity | None = None
        self._missing = False
        self._last: tuple[str | None, str | None] | None = None
        """Digest and refusal of what was last found."""

    def load(self) -> Loaded[T]:
        """What is in force at the start.

        Raises:
            RulesError: there is a file, and it cannot be obeyed.
        """
        self._missing = True
        found = self.look()
        if isinstance(found, Refused):
            raise RulesError(f"{self.path}: {found.reason}")
        if found is None:
            raise RulesError(f"{self.path}: changes while it is read")
        return found

    def look(self) -> Loaded[T] | Refused | None:
        """What is there, when it is something else than at the last look. Blocks for the disk."""
        try:
            identity = self._identity()
            # A file that is being replaced may be gone for a moment: it is absent when two looks find it so.
            gone, self._missing = self._missing, identity == ABSENT
            if identity == self._seen or (identity == ABSENT and not gone):
                return None
            data = self._content() if identity else None
            if self._identity() != identity:
                return None  # somebody writes: the next look sees the end of it
        except (OSError, RulesError) as error:
            self._seen = None
            reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
            return self._news(Refused(reason, None))
        self._seen = identity
        return self._news(self._made_of(data))

    def _made_of(self, data: bytes | None) -> Loaded[T] | Refused:
        digest = None if data is None else hashlib.sha256(data).hexdigest()
        try:
            return Loaded(self._read(data), digest)
        except RulesError as error:
            return Refused(str(error), digest)
        except Exception as error:  # noqa: BLE001 - a fault of ours in reading must not end what is in force
            return Refused(f"{type(error).__name__}: {error}", digest)

    def _news(self, found: Loaded[T] | Refused) -> Loaded[T] | Refused | None:
        last = (found.digest, found.reason if isinstance(found, Refused) else None)
        if last == self._last:
            return None
        self._last = last
        return found

    def _identity(self) -> Identity:
        if self.path is None:
            return ABSENT
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return ABSENT
        if not stat.S_ISREG(found.st_mode):
            raise RulesError("is not a file")
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size

    def _content(self) -> bytes | None:
        if self.path is None:
            return None
        with self.path.open("rb") as file:
            return file.read(MOST_OCTETS + 1)
