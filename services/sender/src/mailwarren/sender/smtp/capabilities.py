"""What a server can do, by its answer to EHLO (RFC 5321 §4.1.1.1)."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The extensions that matter to a sender; all absent for a server that knows only HELO.

    Attributes:
        pipelining: RFC 2920.
        eight_bit: 8BITMIME, RFC 6152.
        utf8: SMTPUTF8, RFC 6531.
        starttls: RFC 3207.
        enhanced_codes: RFC 2034. Enhanced codes are read whether or not this is offered.
        chunking: RFC 3030; used where the site's row says so.
        size: True when SIZE is offered (RFC 1870).
        size_limit: Octets of the largest message, 0 when the server names none.
        auth: SASL mechanisms, upper case (RFC 4954).
    """

    pipelining: bool = False
    eight_bit: bool = False
    utf8: bool = False
    starttls: bool = False
    enhanced_codes: bool = False
    chunking: bool = False
    size: bool = False
    size_limit: int = 0
    auth: frozenset[str] = frozenset()


def parse_capabilities(lines: Sequence[bytes]) -> Capabilities:
    """Read the lines of a positive EHLO reply; the first is the greeting. Unknown keywords are ignored."""
    found: dict[str, list[str]] = {}
    for line in lines[1:]:
        # "AUTH=LOGIN PLAIN" is an older form of the AUTH line that some servers still send beside the new one.
        keyword, *parameters = line.decode("ascii", "replace").upper().replace("AUTH=", "AUTH ").split() or [""]
        found.setdefault(keyword, []).extend(parameters)
    size = found.get("SIZE", ())
    limit = size[0] if size else ""
    return Capabilities(
        pipelining="PIPELINING" in found,
        eight_bit="8BITMIME" in found,
        utf8="SMTPUTF8" in found,
        starttls="STARTTLS" in found,
        enhanced_codes="ENHANCEDSTATUSCODES" in found,
        chunking="CHUNKING" in found,
        size="SIZE" in found,
        size_limit=int(limit) if limit.isascii() and limit.isdigit() else 0,
        auth=frozenset(found.get("AUTH", ())),
    )
