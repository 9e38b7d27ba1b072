"""Attachments by way of ingest's internal HTTP, cached on disk by digest.

What is cached is the base64 form, made once while it comes in; mails map it into memory, so that what many of them
share is there once, and in the page cache. A blob is checked against its digest before any mail sees it.

Failures: :class:`BlobsAway` (nothing is known now; the mail waits) and :class:`BlobMissing` (it is not there).
"""

import asyncio
import hashlib
import mmap
import os
import shutil
import tempfile
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Self

import httpx
import structlog

from mailwarren.contracts.parcel import Attachment
from mailwarren.runtime.room import Room
from mailwarren.sender import metrics
from mailwarren.sender.adapters.internal import DOWNLOADS, Internal
from mailwarren.sender.domain.mime import File
from mailwarren.sender.domain.render import base64_lines

log = structlog.get_logger()

RETRIES = (0.2, 0.8)
"""Seconds before the second and the third try; after that the mail waits on the ladder."""
LINE = 57
"""Octets of a line of base64."""
BLOCK = 256 * 1024
_SUFFIX = ".b64"


class BlobsAway(Exception):
    """The blobs cannot be reached; the text says why."""


class BlobMissing(Exception):
    """There is no such blob (any more); the text says which."""


def encoded_size(size: int) -> int:
    """Octets in base64 with its line ends, of ``size`` octets."""
    return -(-size // 3) * 4 + -(-size // LINE) * 2


class Blobs:
    """The cache of one process, and the way to what is not in it.

    Args:
        internal: ingest's internal HTTP.
        folder: of this process alone; None makes one, and removes it at the end.
        limit: bytes of the folder.
    """

    def __init__(self, internal: Internal, *, folder: Path | None, limit: int) -> None:
        self._internal = internal
        self._kept = folder
        self._limit = limit
        self._room = Room(limit)
        self._sizes: OrderedDict[str, int] = OrderedDict()
        """By digest, the one unused for longest first."""
        self._pinned: Counter[str] = Counter()
        self._flights: dict[str, asyncio.Task[None]] = {}
        self._downloads = asyncio.Semaphore(DOWNLOADS)

    async def __aenter__(self) -> Self:
        self._folder = self._kept or Path(tempfile.mkdtemp(prefix="mailwarren-blobs-"))
        self._folder.mkdir(parents=True, exist_ok=True)
        self._find()
        return self

    async def __aexit__(self, *_: object) -> None:
        for flight in list(self._flights.values()):
            flight.cancel()
        if self._kept is None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def at_hand(self, attachments: Sequence[Attachment]) -> bool:
        """Whether :meth:`open` would not wait."""
        size = sum(encoded_size(one.size) for one in attachments)
        return self._room.fits(size) and all(one.digest in self._sizes for one in attachments)

    @asynccontextmanager
    async def open(self, attachments: Sequence[Attachment]) -> AsyncIterator[list[File]]:
        """The attachments' files; inside, they stay on disk.

        Raises:
            BlobsAway: one cannot be fetched now.
            BlobMissing: one does not exist.
        """
        digests = [one.digest for one in attachments]
        async with self._room.hold(sum(encoded_size(one.size) for one in attachments)):
            self._pinned.update(digests)
            try:
                for attachment in attachments:
                    await self._bring(attachment)
                yield [File(one, self._map(one.digest)) for one in attachments]
            finally:
                self._pinned.subtract(digests)
                self._pinned = +self._pinned

    async def _bring(self, attachment: Attachment) -> None:
        """Return when the blob is in the folder; those who want the same one wait for one download."""
        digest = attachment.digest
        if digest in self._sizes:
            self._sizes.move_to_end(digest)
            metrics.record_blob("cached")
            return
        if (flight := self._flights.get(digest)) is None:
            flight = self._flights[digest] = asyncio.create_task(self._fetch(attachment))
            flight.add_done_callback(lambda task: self._landed(digest, task))
        await asyncio.shield(flight)

    def _landed(self, digest: str, flight: asyncio.Task[None]) -> None:
        del self._flights[digest]
        if not flight.cancelled():
            flight.exception()  # those who wanted it may all be gone

    async def _fetch(self, attachment: Attachment) -> None:
        for pause in (*RETRIES, None):
            try:
                async with self._downloads:
                    await self._download(attachment)
            except BlobMissing:
                metrics.record_blob("missing")
                raise
            except BlobsAway:
                metrics.record_blob("away")
                if pause is None:
                    raise
                await asyncio.sleep(pause)
            else:
                metrics.record_blob("fetched")
                return

    async def _download(self, attachment: Attachment) -> None:
        if self._internal.trouble is not None:
            raise BlobsAway(self._internal.trouble)
        self._make_room(encoded_size(attachment.size))
        part = self._folder / f"{attachment.digest}.part"
        try:
            async with self._internal.client.stream("GET", f"/internal/blobs/{attachment.digest}") as response:
                if response.status_code == httpx.codes.NOT_FOUND:
                    raise BlobMissing(f"the attachment {attachment.filename!r} was deleted")
                if response.status_code != httpx.codes.OK:
                    raise BlobsAway(f"ingest answered {response.status_code}")
                with part.open("wb") as file:
                    await _store(response, file, attachment)
            part.rename(self._path(attachment.digest))
        except (httpx.HTTPError, OSError) as error:
            raise BlobsAway(f"{type(error).__name__}: {error}") from error
        finally:
            part.unlink(missing_ok=True)
        self._sizes[attachment.digest] = encoded_size(attachment.size)
        metrics.record_blob_cache(sum(self._sizes.values()))

    def _map(self, digest: str) -> memoryview:
        try:
            with self._path(digest).open("rb") as file:
                if not os.fstat(file.fileno()).st_size:
                    return memoryview(b"")
                # Not closed by hand: a connection may still be writing from it. It goes with its last view.
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except OSError as error:
            # Somebody cleared the folder.
            self._sizes.pop(digest, None)
            raise BlobsAway(f"the cached attachment cannot be read: {error}") from error

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}{_SUFFIX}"

    def _make_room(self, size: int) -> None:
        used = sum(self._sizes.values())
        for digest in [one for one in self._sizes if one not in self._pinned]:
            if used + size <= self._limit:
                return
            used -= self._sizes.pop(digest)
            with suppress(OSError):
                self._path(digest).unlink()

    def _find(self) -> None:
        """Take over what an earlier process left, as far as it is whole: only whole files have this name."""
        for path in self._folder.glob("*.part"):
            path.unlink(missing_ok=True)
        found = sorted(self._folder.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime)
        self._sizes.update((path.name.removesuffix(_SUFFIX), path.stat().st_size) for path in found)
        self._make_room(0)


async def _store(response: httpx.Response, file: BinaryIO, attachment: Attachment) -> None:
    """Write the blob to ``file`` in base64, line by line."""
    digest, size, rest = hashlib.sha256(), 0, b""
    async for chunk in response.aiter_raw(BLOCK):
        digest.update(chunk)
        size += len(chunk)
        if size > attachment.size:
            break
        data = rest + chunk
        whole = len(data) // LINE * LINE
        file.write(base64_lines(data[:whole]))
        rest = data[whole:]
    file.write(base64_lines(rest))
    if size != attachment.size or digest.hexdigest() != attachment.digest:
        log.error("sender.blob.damaged", digest=attachment.digest, size=size, wanted=attachment.size)
        raise BlobsAway(f"the attachment {attachment.filename!r} came in damaged")
