"""A ZIP file that is made while it goes out: nothing but the part in hand is in memory."""

import io
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any


class _Outbox(io.RawIOBase):
    """Takes what is written, and cannot go back: the archive's entries have their sizes behind them."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        octets = bytes(data)
        self._held.append(octets)
        return len(octets)

    def take(self) -> bytes:
        held, self._held = b"".join(self._held), []
        return held


class Archive:
    """Files, one after the other, each in pieces. Whoever calls takes what is there after each call."""

    def __init__(self) -> None:
        self._out = _Outbox()
        self._zip = zipfile.ZipFile(self._out, "w", zipfile.ZIP_DEFLATED)

    def file(self, name: str, pieces: Iterable[bytes], moment: tuple[int, int, int, int, int, int]) -> Iterator[bytes]:
        """Octets of the archive while it takes in a file.

        Args:
            name: of the file.
            pieces: its octets.
            moment: year to second.
        """
        info = zipfile.ZipInfo(name, moment)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = 0o600 << 16
        with self._zip.open(info, "w", force_zip64=True) as entry:
            for piece in pieces:
                entry.write(piece)
                if block := self._out.take():
                    yield block
        yield self._out.take()

    def end(self) -> bytes:
        """The rest: where each file is."""
        self._zip.close()
        return self._out.take()
