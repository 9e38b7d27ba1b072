"""Who calls: ``Authorization: Bearer mw_...``."""

from mailwarren.ingest.adapters.keys import Keys
from mailwarren.ingest.domain.keys import ApiKey
from mailwarren.ingest.domain.refusal import missing_key, restricted_key, unavailable
from mailwarren.ingest.domain.requests import Permission


async def authenticate(header: str | None, needed: Permission, keys: Keys) -> ApiKey:
    """The caller's key.

    Raises:
        Refusal: 401 without a key or when it may only send; 403 when it is unknown or deleted; 503 when it cannot be
            known.
    """
    scheme, _, token = (header or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise missing_key()
    if not keys.loaded:
        raise unavailable("This process is starting and has not read the API keys yet.")
    key = await keys.find(token)
    if needed is Permission.FULL and key.permission is not Permission.FULL:
        raise restricted_key()
    return key
