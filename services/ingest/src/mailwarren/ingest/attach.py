"""The use case: octets of attachments into the blob store, before the email that has them is published.

A file goes through a temporary file, block by block, so that a call needs the memory of its own body and no more.
What is stored and then not published is found and deleted by retention.
"""

import asyncio
import hashlib
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import structlog

from mailwarren.contracts.parcel import Attachment
from mailwarren.ingest.adapters.attachments import EmailAttachments
from mailwarren.ingest.adapters.blob_store import BlobsDown, BlobStore
from mailwarren.ingest.adapters.database import DatabaseDown
from mailwarren.ingest.adapters.remote import Fetched, Fetcher, TooLong
from mailwarren.ingest.domain.attachments import (
    Limits,
    Wanted,
    check_attachments,
    encoded_octets,
    read_octets,
    told_type,
    too_many_octets,
    type_of,
)
from mailwarren.ingest.domain.refusal import invalid, unavailable
from mailwarren.ingest.domain.requests import AttachmentBody
from mailwarren.ingest.metrics import record_attachment

log = structlog.get_logger()


class Attacher:
    """Takes attachments in.

    Args:
        store: where octets go.
        rows: what is known of them.
        fetcher: for those that are somewhere else.
        limits: what an email may have.
        within: seconds for all files of a call that are somewhere else.
    """

    def __init__(
        self, *, store: BlobStore, rows: EmailAttachments, fetcher: Fetcher, limits: Limits, within: float
    ) -> None:
        self._store = store
        self._rows = rows
        self._fetcher = fetcher
        self._limits = limits
        self._within = within

    async def stage(self, bodies: Sequence[AttachmentBody]) -> tuple[Attachment, ...]:
        """The attachments, with their blobs stored.

        Raises:
            Refusal: 422 naming the field, 503 when they cannot be stored now.
        """
        left, until = self._limits.octets, time.monotonic() + self._within
        staged = []
        for one in check_attachments(bodies, self._limits):
            # Its own name is needed, which obstore opens.
            with tempfile.NamedTemporaryFile(prefix="mailwarren-") as file:
                try:
                    found = await self._fill(one, file.file, left // 4 * 3, until)
                except TooLong as error:
                    raise too_many_octets(self._limits) from error
                left -= encoded_octets(found.size)
                file.flush()
                await self._keep(found, Path(file.name))
            content_type = one.content_type or told_type(found.content_type, one.filename)
            staged.append(Attachment(one.filename, content_type, found.digest, found.size, one.content_id))
        return tuple(staged)

    async def _fill(self, one: Wanted, file: IO[bytes], limit: int, until: float) -> Fetched:
        if one.url is not None:
            return await self._fetcher.fetch(one.url, f"{one.place}.path", file, limit, until - time.monotonic())
        try:
            return await asyncio.to_thread(_decode, one, file, limit)
        except ValueError as error:
            raise invalid(f"Invalid `{one.place}.content` field: {error}.") from error

    async def _keep(self, found: Fetched, path: Path) -> None:
        digest = bytes.fromhex(found.digest)
        try:
            if await self._rows.use(digest, found.size):
                record_attachment("known", found.size)
                return
            await self._store.put(found.digest, path)
            await self._rows.stored(digest)
        except (BlobsDown, DatabaseDown) as error:
            record_attachment("failed", found.size)
            log.warning("ingest.attachment.unstored", error=str(error))
            raise unavailable("Attachments cannot be stored right now. Nothing was accepted; try again.") from error
        record_attachment("stored", found.size)


def _decode(one: Wanted, file: IO[bytes], limit: int) -> Fetched:
    content = one.content
    if content is None:
        raise ValueError("it is empty")
    digest, size = hashlib.sha256(), 0
    for block in read_octets(content):
        size += len(block)
        if size > limit:
            raise TooLong
        digest.update(block)
        file.write(block)
    return Fetched(size, digest.hexdigest(), type_of(one.filename))
