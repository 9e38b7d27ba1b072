"""DKIM keys by way of ingest's internal HTTP, kept in memory.

Keys are used until their answer is not fresh any more and asked for anew before that, beside the mail. While ingest is
away known ones go on for a while; a domain that ingest knows no key of has none from then on. A parcel costs a look
into a dictionary, however many domains there are.

Failures: :class:`KeysAway`: the mail waits. It is never sent unsigned.
"""

import asyncio
import random
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import httpx
import structlog

from mailwarren.contracts.dkim import RSA, SigningKey, SigningKeys, decode_keys, keys_path
from mailwarren.contracts.shaping import KEYS_TOLD, MissingKeys
from mailwarren.sender.adapters.internal import Internal
from mailwarren.sender.adapters.metrics import record_key_read
from mailwarren.sender.adapters.private_keys import open_key
from mailwarren.sender.domain.dkim import Key

log = structlog.get_logger()

MOST_FRESH = 600.0
"""Seconds for which an answer is fresh at most, whatever it says: a key that was withdrawn signs nothing after that."""
LEAST_FRESH = 10.0
"""And at least: where clocks differ, not every mail asks."""
REFRESH = (0.6, 0.9)
"""The part of that time after which it is asked for anew: by chance, so that not all domains are asked for at once."""
AGAIN = 2.0
"""Seconds after a failure for which nobody asks for the same domain: mail waits for it."""
AGAIN_KNOWN = 10.0
"""The same where known keys go on meanwhile, of a thousand domains perhaps."""
RETRY = 0.2
"""Seconds between the two tries of one asking."""
PATIENCE = 1.0
"""Seconds that mail waits for newer keys where older ones are known."""
TIMEOUT = httpx.Timeout(5.0, connect=2.0, pool=15.0)
IN_USE = 60.0
"""Seconds after the last mail for which the age of a domain's keys counts."""
TOLD_FOR = 120.0
"""Seconds after the last mail that missed its keys for which the domain counts as one that misses them."""

# What may stand in a tag of the signature; a domain is in lower case and A-labels.
_DOMAIN = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_SELECTOR = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")

Place = tuple[UUID, str]
"""A tenant's domain."""


class KeysAway(Exception):
    """The keys of a domain cannot be had now; the text says why."""


class _NoKeys(Exception):
    """Ingest answers, and the domain has none that may be used; the text says why."""


@dataclass(frozen=True, slots=True)
class DomainKeys:
    """What mail of a domain is signed with."""

    domain: str
    keys: tuple[Key, ...]


@dataclass(slots=True)
class _Entry:
    keys: DomainKeys | None = None
    said: tuple[SigningKey, ...] = ()
    fetched_at: float = 0.0
    refresh_at: float = 0.0
    fresh_until: float = 0.0
    again_at: float = 0.0
    used_at: float = 0.0
    why: str = ""
    flight: asyncio.Task[None] | None = None
    missed_since: float = 0.0
    missed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class KeyStats:
    """Domains with keys, domains whose mail waits for them, and the age of the oldest keys in use in seconds."""

    known: int
    missing: int
    age: float


class DkimKeys:
    """The keys that one process knows.

    Args:
        internal: ingest's internal HTTP.
        limit: domains that are remembered; the one unused for longest is forgotten first.
        keep: seconds for which known keys go on after they were fresh, while ingest cannot be asked.
        clock: Unix seconds.
    """

    def __init__(self, internal: Internal, *, limit: int, keep: float, clock: Callable[[], float] = time.time) -> None:
        self._internal = internal
        self._limit = limit
        self._keep = keep
        self._clock = clock
        self._entries: OrderedDict[Place, _Entry] = OrderedDict()
        self._missed: dict[Place, _Entry] = {}
        self._flights: set[asyncio.Task[None]] = set()

    async def get(self, tenant: UUID, domain: str) -> DomainKeys:
        """The keys of a tenant's domain.

        Raises:
            KeysAway: there are none that may be used now.
        """
        place = (tenant, domain)
        now = self._clock()
        entry = self._entries.get(place)
        if entry is None:
            entry = self._entries[place] = _Entry()
            if len(self._entries) > self._limit:
                self._entries.popitem(last=False)
        else:
            self._entries.move_to_end(place)
        entry.used_at = now
        if entry.keys is not None and now < entry.refresh_at:
            return entry.keys
        if entry.flight is None and now >= entry.again_at:
            self._ask(place, entry)
        if entry.flight is not None and (entry.keys is None or now >= entry.fresh_until):
            await asyncio.wait({entry.flight}, timeout=None if entry.keys is None else PATIENCE)
        keys = self._usable(entry)
        if keys is None:
            raise self._miss(place, entry)
        self._missed.pop(place, None)
        return keys

    def missing(self) -> tuple[MissingKeys, ...]:
        """The domains whose mail waits for keys, those for longest first."""
        self._forget_missed()
        ones = sorted(self._missed.items(), key=lambda item: item[1].missed_since)[:KEYS_TOLD]
        return tuple(MissingKeys(*place, entry.missed_since, entry.why) for place, entry in ones)

    def stats(self) -> KeyStats:
        """Count, for a metrics module to read."""
        self._forget_missed()
        now = self._clock()
        known = [entry for entry in self._entries.values() if entry.keys is not None]
        used = [entry.fetched_at for entry in known if now - entry.used_at < IN_USE]
        return KeyStats(len(known), len(self._missed), max(0.0, now - min(used, default=now)))

    async def close(self) -> None:
        """Ask no more."""
        for flight in list(self._flights):
            flight.cancel()
        await asyncio.gather(*self._flights, return_exceptions=True)

    # --- inside ---

    def _usable(self, entry: _Entry) -> DomainKeys | None:
        """Its keys, unless they are too old."""
        return entry.keys if self._clock() < entry.fresh_until + self._keep else None

    def _miss(self, place: Place, entry: _Entry) -> KeysAway:
        now = self._clock()
        if place not in self._missed:
            entry.missed_since = now
            self._missed[place] = entry
        entry.missed_at = now
        return KeysAway(entry.why or "its keys are too old")

    def _forget_missed(self) -> None:
        """Mail that waited for them has gone another way, or ran out of time."""
        since = self._clock() - TOLD_FOR
        for place in [place for place, entry in self._missed.items() if entry.missed_at < since]:
            del self._missed[place]

    def _ask(self, place: Place, entry: _Entry) -> None:
        flight = entry.flight = asyncio.create_task(self._fetch(place, entry))
        self._flights.add(flight)

        def landed(task: asyncio.Task[None]) -> None:
            self._flights.discard(task)
            entry.flight = None
            if not task.cancelled() and (error := task.exception()) is not None:
                entry.why, entry.again_at = f"{type(error).__name__}", self._clock() + AGAIN
                log.error("sender.dkim.ask_failed", domain=place[1], exc_info=error)

        flight.add_done_callback(landed)

    async def _fetch(self, place: Place, entry: _Entry) -> None:
        try:
            answer = await self._read_twice(*place)
            if answer.keys == entry.said and entry.keys is not None:
                record_key_read("unchanged")
            else:
                entry.keys = _opened(place[1], answer)
                record_key_read("fetched")
        except _NoKeys as error:
            record_key_read("none")
            entry.keys, entry.said = None, ()
            self._failed(place, entry, str(error))
        except KeysAway as error:
            record_key_read("away")
            self._failed(place, entry, str(error))
        else:
            now = self._clock()
            life = min(max(answer.fresh_until - now, LEAST_FRESH), MOST_FRESH)
            entry.said, entry.why = answer.keys, ""
            entry.fetched_at, entry.fresh_until = now, now + life
            entry.refresh_at = now + life * random.uniform(*REFRESH)

    def _failed(self, place: Place, entry: _Entry, why: str) -> None:
        known = self._usable(entry) is not None
        entry.why, entry.again_at = why, self._clock() + (AGAIN_KNOWN if known else AGAIN)
        log.warning("sender.dkim.keys_away", domain=place[1], reason=why, known=known)

    async def _read_twice(self, tenant: UUID, domain: str) -> SigningKeys:
        try:
            return await self._read(tenant, domain)
        except KeysAway:
            await asyncio.sleep(RETRY)
            return await self._read(tenant, domain)

    async def _read(self, tenant: UUID, domain: str) -> SigningKeys:
        if self._internal.trouble is not None:
            raise KeysAway(self._internal.trouble)
        try:
            response = await self._internal.client.get(keys_path(tenant, domain), timeout=TIMEOUT)
        except (httpx.HTTPError, OSError) as error:
            raise KeysAway(f"{type(error).__name__}: {error}") from error
        if response.status_code == httpx.codes.NOT_FOUND:
            raise _NoKeys(f"there is no DKIM key in force for {domain}")
        if response.status_code != httpx.codes.OK:
            raise KeysAway(f"ingest answered {response.status_code}")
        try:
            return decode_keys(response.content)
        except ValueError as error:
            raise KeysAway(f"ingest answered something else: {error}") from error


def _opened(domain: str, answer: SigningKeys) -> DomainKeys:
    """The keys of an answer that can be used, RSA first: every verifier knows it, and some look at one signature only.

    Raises:
        KeysAway: it is no answer to what was asked.
        _NoKeys: none can be used. Those known before are not in force any more either.
    """
    if answer.domain != domain or not _DOMAIN.fullmatch(domain):
        raise KeysAway("ingest answered with the keys of another domain")
    keys = [key for key in (_usable(domain, one) for one in answer.keys) if key is not None]
    if not keys:
        raise _NoKeys("none of its DKIM keys can be used by this sender")
    return DomainKeys(domain, tuple(sorted(keys, key=lambda key: key.algorithm != RSA)))


def _usable(domain: str, key: SigningKey) -> Key | None:
    reason = "its selector cannot stand in a signature"
    if _SELECTOR.fullmatch(key.selector):
        try:
            return open_key(key)
        except ValueError as error:
            reason = str(error)
    log.error("sender.dkim.key_unusable", domain=domain, selector=key.selector, reason=reason)
    return None
