"""Who gets no mail any more, as far as the control log of the last days tells: decided after the mail was accepted.

Ingest has looked at the lists when it accepted a mail. What people decided since then, a sender knows from the control
log alone. A file of a million addresses may be among it: an address costs some 60 octets, and the oldest are forgotten
above :data:`MOST`.
"""

import math
from uuid import UUID

from mailwarren.contracts.events import Suppress
from mailwarren.contracts.parcel import Delivery, Parcel
from mailwarren.contracts.unsubscribe import LISTS

MOST = 500_000
"""Entries that are known at once: 60 MB."""
KEEP = 50 * 3600.0
"""Seconds that entries matter: longer than a mail lives."""


class Unwanted:
    """What was put on the lists, and not taken from them again.

    Args:
        most: entries at most.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        # By a hash of 64 bits of what each is about, with the key of this process: when it ends.
        self._until: dict[int, float] = {}
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._until)

    def note(self, entry: Suppress) -> None:
        """An entry of the log, in its order."""
        until = math.inf if entry.until is None else entry.until
        until = min(until, entry.at + KEEP)
        for address in (entry.address, *entry.more):
            key = hash((entry.tenant, entry.topic, address))
            # The newest stands last.
            self._until.pop(key, None)
            if not entry.removed:
                self._until[key] = until
        while len(self._until) > self._most:
            del self._until[next(iter(self._until))]
            self.forgotten += 1

    def prune(self, now: float) -> None:
        """Forget what has ended."""
        self._until = {key: until for key, until in self._until.items() if until > now}

    def holds(self, parcel: Parcel, delivery: Delivery, now: float) -> bool:
        """Whether a delivery is to somebody who does not want it, or may not have it."""
        topics: list[UUID | None] = [None]
        if (listed := parcel.unsubscribe) is not None:
            topics += [LISTS] if listed.topic is None else [LISTS, listed.topic]
        address = delivery.to.lower()
        keys = [hash((parcel.tenant, topic, address)) for topic in topics]
        return any(self._until.get(key, 0.0) > now for key in keys)
