"""A ZIP file that is made while it goes out: nothing but the part in hand is in memory."""

import zipfile
from typing import Any

Moment = tuple[int, int, int, int, int, int]
"""Year to second."""


class _Outbox:
    """Takes what is written, and cannot go back: the archive's entries have their sizes behind them."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self._held.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing: it is taken from here."""

    def close(self) -> None:
        """Nothing: it is taken from here."""

    def take(self) -> bytes:
        held, self._held = b"".join(self._held), []
        return held


class Entry:
    """A file of an archive that is being written. Each method returns octets of the archive."""

    def __init__(self, file: Any, out: _Outbox) -> None:
        self._file = file
        self._out = out

    def write(self, data: bytes) -> bytes:
        """More of the file."""
        self._file.write(data)
        return self._out.take()

    def close(self) -> bytes:
        """Its end."""
        self._file.close()
        return self._out.take()


class Archive:
    """Files, one after the other."""

    def __init__(self) -> None:
        self._out = _Outbox()
        self._zip = zipfile.ZipFile(self._out, "w", zipfile.ZIP_DEFLATED)

    def begin(self, name: str, moment: Moment) -> Entry:
        """A file, after the one before is closed."""
        info = zipfile.ZipInfo(name, moment)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = 0o600 << 16
        return Entry(self._zip.open(info, "w", force_zip64=True), self._out)

    def end(self) -> bytes:
        """The rest: where each file is."""
        self._zip.close()
        return self._out.take()
