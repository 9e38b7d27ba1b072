"""Shards: slices of the recipient domains, one for each big provider and eight hashed ones.

The map only chooses a queue. A sender accepts any parcel from any queue, so a change of the map (a new
``DOMAIN_MAP_VERSION``) is safe at any moment.
"""

from zlib import crc32

DOMAIN_MAP_VERSION = 1
HASHED = 8

PROVIDERS = ("google", "microsoft", "yahoo", "apple")
_HASHED_SHARDS = tuple(f"h{n}" for n in range(HASHED))
SHARDS: tuple[str, ...] = (*PROVIDERS, *_HASHED_SHARDS)

_PROVIDER_OF: dict[str, str] = {
    **dict.fromkeys(("gmail.com", "googlemail.com"), "google"),
    **dict.fromkeys(
        (
            "outlook.com", "hotmail.com", "hotmail.co.uk", "hotmail.de", "hotmail.fr", "hotmail.it", "hotmail.es",
            "live.com", "live.co.uk", "live.de", "live.fr", "live.nl", "msn.com", "outlook.de", "outlook.fr",
            "outlook.es", "outlook.it",
        ),
        "microsoft",
    ),
    **dict.fromkeys(
        (
            "yahoo.com", "yahoo.co.uk", "yahoo.de", "yahoo.fr", "yahoo.es", "yahoo.it", "yahoo.ca", "yahoo.com.br",
            "yahoo.co.in", "ymail.com", "rocketmail.com", "aol.com", "aim.com",
        ),
        "yahoo",
    ),
    **dict.fromkeys(("icloud.com", "me.com", "mac.com"), "apple"),
}  # fmt: skip


def shard_of(domain: str) -> str:
    """The shard of a recipient domain (lower case, A-label form): a provider's name or ``h0`` to ``h7``."""
    return _PROVIDER_OF.get(domain) or _HASHED_SHARDS[crc32(domain.encode()) % HASHED]
