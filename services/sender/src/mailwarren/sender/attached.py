"""The files of mails: open while a mail is under way and no longer, for what waits would keep others from theirs."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from mailwarren.contracts.parcel import Attachment, Parcel
from mailwarren.sender.adapters.blobs import Blobs
from mailwarren.sender.domain.mime import File
from mailwarren.sender.incoming import Incoming
from mailwarren.sender.slots import Slots
from mailwarren.sender.transmit import OpenFiles


class Stopping(Exception):
    """The process stops, and what has waited for its files begins nothing new."""


class Attached:
    """Opens the files of parcels.

    Args:
        blobs: where they are.
        slots: of the deliveries worked on.
    """

    def __init__(self, blobs: Blobs, slots: Slots) -> None:
        self._blobs = blobs
        self._slots = slots

    def opener(self, parcel: Parcel, incoming: Incoming) -> OpenFiles | None:
        """What opens the parcel's files for one try; None when it has none.

        It raises ``BlobsAway`` and ``BlobMissing``, and :class:`Stopping`.
        """
        attachments = parcel.content.attachments
        return partial(self._open, attachments, incoming) if attachments else None

    @asynccontextmanager
    async def _open(self, attachments: Sequence[Attachment], incoming: Incoming) -> AsyncIterator[Sequence[File]]:
        if self._blobs.at_hand(attachments):
            async with self._blobs.open(attachments) as files:
                yield files
            return
        # Others are worked on meanwhile. Whoever waits for a slot here has its files already, so that nobody who has a
        # slot waits for them.
        self._slots.give()
        taken = 0
        try:
            async with self._blobs.open(attachments) as files:
                taken = await self._slots.take(1)
                if incoming.stopping():
                    raise Stopping
                yield files
        finally:
            if not taken:
                await self._slots.take(1)
