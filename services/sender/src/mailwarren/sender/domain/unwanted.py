"""Who gets no mail any more, as far as the control log of the last days tells: decided after the mail was accepted.

Ingest has looked at the lists when it accepted a mail. What people decided since then, a sender knows from the control
log alone. A file of a million addresses may be among it: the oldest are forgotten above :data:`MOST`.
"""

import math
from uuid import UUID

from mailwarren.contracts.address_key import address_key
from mailwarren.contracts.events import Suppress
from mailwarren.contracts.parcel import Delivery, Parcel
from mailwarren.contracts.unsubscribe import LISTS

MOST = 300_000
"""Entries that are known at once, of some 120 octets each."""
KEEP = 50 * 3600.0
"""Seconds that entries matter: longer than a mail lives."""


class Unwanted:
    """What was put on the lists, and not taken from them again.

    Args:
        most: entries at most.

    Attributes:
        forgotten: entries that were too many.
    """

    def __init__(self, most: int = MOST) -> None:
        self._half = most // 2
        # When each ends, by a hash of 64 bits of what it is about, with the key of this process. In two halves, so that
        # the older is forgotten at once: to take the first out of a large dictionary is slow.
        self._old: dict[int, float] = {}
        self._new: dict[int, float] = {}
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._old) + len(self._new)

    def note(self, entry: Suppress) -> None:
        """An entry of the log, in its order."""
        until = math.inf if entry.until is None else entry.until
        until = min(until, entry.at + KEEP)
        for address in (entry.address, *entry.more):
            key = hash((entry.tenant, entry.topic, address))
            self._old.pop(key, None)
            if entry.removed:
                self._new.pop(key, None)
                continue
            if len(self._new) >= self._half and key not in self._new:
                self.forgotten += len(self._old)
                self._old, self._new = self._new, {}
            self._new[key] = until

    def prune(self, now: float) -> None:
        """Forget what has ended."""
        self._old = {key: until for key, until in self._old.items() if until > now}
        self._new = {key: until for key, until in self._new.items() if until > now}

    def holds(self, parcel: Parcel, delivery: Delivery, now: float) -> bool:
        """Whether a delivery is to somebody who does not want it, or may not have it."""
        topics: list[UUID | None] = [None]
        if (listed := parcel.unsubscribe) is not None:
            topics += [LISTS] if listed.topic is None else [LISTS, listed.topic]
        address = address_key(delivery.to)
        keys = [hash((parcel.tenant, topic, address)) for topic in topics]
        return any(self._new.get(key, 0.0) > now or self._old.get(key, 0.0) > now for key in keys)
