"""The names of the sites that have slots in the broker: those of the built-in rows of ``shaping.toml``.

The rows themselves are the sender's; a test of the sender holds the two lists against each other. An operator's file
may name more, which ``mailwarren topology apply --shaping FILE`` adds.
"""

import re

NAMED_SITES: tuple[str, ...] = (
    "google", "yahoo", "outlook", "office365", "microsoft", "apple", "comcast.net", "mimecast.com", "orange.fr", "gmx",
    "yahoo.co.jp",
)  # fmt: skip

SMARTHOST = "smarthost"
"""A row of the file and no site of the broker: a smarthost's limits are those of each process."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,250}[a-z0-9])?")
_HIGH = ".high"
_KEEPER = "keeper"


def site_trouble(name: str) -> str | None:
    """Why a site cannot be called so, None when it can.

    ``slots.<site>`` and ``slots.<site>.high`` are queues, and ``slots.keeper`` is another.
    """
    if not _NAME.fullmatch(name):
        return "is not the name of a site: lower-case letters, digits, dots, hyphens"
    if name == _KEEPER or name.endswith(_HIGH):
        return "is a name that the queues of slots need for themselves"
    return None
