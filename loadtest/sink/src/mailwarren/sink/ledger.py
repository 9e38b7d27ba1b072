"""The ledger: what came of each (Message-ID, RCPT TO), in about 50 octets each, for runs of many millions.

Without names a pair is known by a 16-octet digest, and found through small hash tables of numbers: a dictionary would
take three times the memory, and one large table would stop the sink for a second whenever it grows. With names, the
memory is theirs anyhow, and a dictionary is quicker.
"""

from array import array
from hashlib import blake2b

import msgspec

from mailwarren.sink.message import as_text

DIGEST_OCTETS = 16
_SHARDS = 256  # tables, chosen by the first octet of the digest
_SMALLEST = 16


class Entry(msgspec.Struct, frozen=True):
    """One (Message-ID, RCPT TO).

    Args:
        digest: BLAKE2b of Message-ID, a NUL and RCPT TO, 16 octets in hexadecimal.
        message_id: the Message-ID header; null where the sink keeps digests only.
        rcpt: RCPT TO, as given; null where the sink keeps digests only.
        dots: final dots that arrived.
        accepted: of them answered with 250, on a connection that was still open.
        unanswered: of them to be answered with 250, but the connection ended before (or the answer is still owed).
        first_at: Unix time of the first final dot.
        last_at: and of the last.
    """

    digest: str
    message_id: str | None
    rcpt: str | None
    dots: int
    accepted: int
    unanswered: int
    first_at: float
    last_at: float


def digest_of(message_id: bytes, rcpt: bytes) -> bytes:
    """What the ledger knows a pair by."""
    return blake2b(message_id + b"\0" + rcpt, digest_size=DIGEST_OCTETS).digest()


class Ledger:
    """Entries in the order in which they were first seen; ``names``: keep Message-ID and recipient too."""

    def __init__(self, *, names: bool) -> None:
        self.unique = 0
        """Pairs that were accepted at least once."""
        self.accepted = 0
        """Final dots answered with 250, for each recipient."""
        self._names: list[bytes] | None = [] if names else None
        self._numbers: dict[bytes, int] = {}  # of the names
        self._digests = bytearray()
        self._dots = array("I")
        self._taken = array("I")
        self._accepted = array("I")
        self._first = array("d")
        self._last = array("d")
        self._tables = [array("I", bytes(4 * _SMALLEST)) for _ in range(_SHARDS)]
        self._filled = array("I", bytes(4 * _SHARDS))

    def __len__(self) -> int:
        return len(self._dots)

    @property
    def duplicates(self) -> int:
        """Copies accepted beyond the first of their pair."""
        return self.accepted - self.unique

    def see(self, message_id: bytes, rcpt: bytes, at: float, *, taken: bool) -> int:
        """A final dot arrived for this pair, and ``taken``: is to be answered with 250. Returns the entry's number."""
        key = message_id + b"\0" + rcpt
        new = len(self._dots)
        if self._names is not None:
            number = self._numbers.setdefault(key, new)
            if number == new:
                self._names.append(key)
        else:
            digest = blake2b(key, digest_size=DIGEST_OCTETS).digest()
            slot, number = self._look_up(digest)
            if number < 0:
                number = new
                self._add(digest, slot, new)
        if number == new:
            self._dots.append(1)
            self._taken.append(taken)
            self._accepted.append(0)
            self._first.append(at)
            self._last.append(at)
        else:
            self._dots[number] += 1
            self._taken[number] += taken
            self._last[number] = at
        return number

    def accept(self, number: int) -> None:
        """A final dot that was ``taken`` has been answered."""
        before = self._accepted[number]
        self._accepted[number] = before + 1
        self.accepted += 1
        self.unique += before == 0

    def entry(self, number: int) -> Entry:
        """One entry by its number."""
        message_id, rcpt = self.name(number)
        return Entry(
            digest=self._digest(number).hex(),
            message_id=None if message_id is None else as_text(message_id),
            rcpt=None if rcpt is None else as_text(rcpt),
            dots=self._dots[number],
            accepted=self._accepted[number],
            unanswered=self._taken[number] - self._accepted[number],
            first_at=self._first[number],
            last_at=self._last[number],
        )

    def name(self, number: int) -> tuple[bytes | None, bytes | None]:
        """Message-ID and recipient of an entry, where they are kept."""
        if self._names is None:
            return None, None
        # RCPT TO can't contain a NUL, so the last one separates, whatever the Message-ID contains.
        message_id, _, rcpt = self._names[number].rpartition(b"\0")
        return message_id, rcpt

    def key(self, number: int) -> bytes:
        """Message-ID, a NUL and recipient, where they are kept."""
        return self._names[number] if self._names is not None else b""

    def taken_copies(self, number: int) -> int:
        """Final dots of one entry that were answered with 250 or would have been."""
        return self._taken[number]

    def find(self, message_id: bytes, rcpt: bytes) -> int | None:
        """The number of this pair's entry."""
        if self._names is not None:
            return self._numbers.get(message_id + b"\0" + rcpt)
        _, number = self._look_up(digest_of(message_id, rcpt))
        return number if number >= 0 else None

    def _digest(self, number: int) -> bytes:
        if self._names is not None:
            return blake2b(self._names[number], digest_size=DIGEST_OCTETS).digest()
        start = number * DIGEST_OCTETS
        return bytes(self._digests[start : start + DIGEST_OCTETS])

    def _look_up(self, digest: bytes) -> tuple[int, int]:
        """The slot of a digest in its table, and the entry's number, or -1 where the slot is free."""
        table = self._tables[digest[0]]
        mask = len(table) - 1
        digests = self._digests
        slot = int.from_bytes(digest[1:8], "big") & mask
        while number := table[slot]:
            start = (number - 1) * DIGEST_OCTETS
            if digests[start : start + DIGEST_OCTETS] == digest:
                return slot, number - 1
            slot = (slot + 1) & mask
        return slot, -1

    def _add(self, digest: bytes, slot: int, number: int) -> None:
        shard = digest[0]
        self._tables[shard][slot] = number + 1
        self._digests += digest
        self._filled[shard] += 1
        if self._filled[shard] * 3 > len(self._tables[shard]) * 2:
            self._grow(shard)

    def _grow(self, shard: int) -> None:
        old = self._tables[shard]
        size = len(old) * 2
        table = self._tables[shard] = array("I", bytes(4 * size))
        digests = self._digests
        for number in old:
            if number:
                start = (number - 1) * DIGEST_OCTETS
                slot = int.from_bytes(digests[start + 1 : start + 8], "big") & (size - 1)
                while table[slot]:
                    slot = (slot + 1) & (size - 1)
                table[slot] = number
