"""Mail with attachments: its files are at hand before anything of it is delivered, or it waits for them."""

from collections.abc import Awaitable, Callable, Sequence

import structlog
from msgspec.structs import replace

from mailwarren.contracts.events import Kind
from mailwarren.contracts.parcel import Delivery, Parcel
from mailwarren.sender.adapters.blobs import BlobMissing, Blobs, BlobsAway
from mailwarren.sender.deferrals import Deferrals
from mailwarren.sender.domain.mime import File
from mailwarren.sender.incoming import Finish, Incoming

log = structlog.get_logger()


class Attached:
    """Opens the files of parcels.

    Args:
        blobs: where they are.
        deferrals: for what has to wait for them.
    """

    def __init__(self, blobs: Blobs, deferrals: Deferrals) -> None:
        self._blobs = blobs
        self._deferrals = deferrals

    async def deliver(
        self,
        parcel: Parcel,
        deliveries: Sequence[Delivery],
        incoming: Incoming,
        deliver: Callable[[Sequence[File]], Awaitable[Finish]],
    ) -> Finish:
        """Call ``deliver`` with the files; they are looked for when all else is decided.

        Raises:
            Stale: the parcel is not ours any more.
        """
        try:
            async with self._blobs.open(parcel.content.attachments) as files:
                return await deliver(files)
        except BlobMissing as error:
            await self._deferrals.report_all(parcel, deliveries, Kind.FAILED, str(error))
        except BlobsAway as error:
            log.warning("sender.attachments.away", reason=str(error), count=len(deliveries))
            # The broker counts anew for what is put back.
            counted = replace(parcel, returned=parcel.returned + incoming.count)
            await self._deferrals.wait_for_files(counted, deliveries, str(error), incoming.owned)
        return Finish.ACK
