"""The use case: an uploaded file, decoded and put away piece by piece while it comes in, and its beginning looked at.

Memory holds the file's first piece and the one that is filling up, however long the file is.
"""

from collections.abc import Awaitable, Callable

from mailwarren.ingest.domain.imports.encoding import Transcoder

CHUNK = 256 * 1024
"""Octets of a piece, about."""

Keep = Callable[[int, bytes], Awaitable[None]]
"""Puts a piece away: where it starts, and its octets."""


class Intake:
    """Takes a file.

    Args:
        told: its encoding, if the caller names one.
        keep: what to do with its pieces; None for nothing but to look at its beginning.

    Attributes:
        head: the first piece.
        size: octets so far, as they are stored.
    """

    def __init__(self, told: str | None, keep: Keep | None) -> None:
        self.told = told
        self.head = b""
        self.size = 0
        self._transcoder = Transcoder(told)
        self._keep = keep
        self._filling = bytearray()
        self._ended = False

    @property
    def encoding(self) -> str:
        """What it was found to be in."""
        return self._transcoder.encoding

    @property
    def whole(self) -> bool:
        """The first piece is all of the file."""
        return self._ended and self.size == len(self.head)

    async def take(self, block: bytes) -> None:
        """The next octets.

        Raises:
            Refusal: 422: they are no text, or not in this encoding.
        """
        if self._keep is None and len(self.head) >= CHUNK:
            self.size += len(block)
            return
        await self._put(self._transcoder.feed(block))

    async def end(self) -> None:
        """There are no more.

        Raises:
            Refusal: as :meth:`take`.
        """
        if self._keep is not None or len(self.head) < CHUNK:
            await self._put(self._transcoder.feed(b"", end=True))
        if self._filling:
            await self._flush()
        self._ended = True

    async def _put(self, text: bytes) -> None:
        self._filling += text
        if len(self._filling) >= CHUNK:
            await self._flush()

    async def _flush(self) -> None:
        piece = bytes(self._filling)
        self._filling.clear()
        if not self.head:
            self.head = piece
        if self._keep is not None:
            await self._keep(self.size, piece)
        self.size += len(piece)
