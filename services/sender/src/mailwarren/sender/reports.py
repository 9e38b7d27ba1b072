"""The outcomes of a parcel on their way to the tracker."""

import asyncio

from mailwarren.contracts.parcel import Delivery


class Reports:
    """The outcomes of a parcel that are on their way; those of a batch have one confirm."""

    __slots__ = ("_confirms", "_deliveries")

    def __init__(self) -> None:
        self._confirms: set[asyncio.Future[None]] = set()
        self._deliveries: list[Delivery] = []

    def add(self, delivery: Delivery, confirm: asyncio.Future[None]) -> None:
        """One more, whose batch has ``confirm``."""
        self._confirms.add(confirm)
        self._deliveries.append(delivery)

    async def confirmed(self) -> list[Delivery]:
        """Return the deliveries when the broker has confirmed all."""
        for confirm in self._confirms:
            await asyncio.shield(confirm)
        return self._deliveries
