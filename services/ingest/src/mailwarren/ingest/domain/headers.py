"""Header fields: which a caller may set, and what may stand in any of them (RFC 5322 §2.1.1, §2.2, §3.6.8).

No CR, LF, NUL or other control character reaches a header: a line break in a value would be a header of the
caller's choosing.
"""

import re
from collections.abc import Mapping

from mailwarren.ingest.domain.refusal import invalid

MAX_LINE = 998
"""Octets of a line without its CRLF. A value without spaces cannot be folded, so this bounds name and value."""
MAX_HEADERS = 50

_FTEXT = re.compile(r"[!-9;-~]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_OURS = frozenset(
    {
        "from", "sender", "to", "cc", "bcc", "subject", "date", "message-id", "reply-to", "mime-version", "received",
        "return-path", "delivered-to", "authentication-results", "received-spf", "domainkey-signature",
    }
)  # fmt: skip
_OUR_PREFIXES = ("content-", "resent-", "arc-", "dkim-")
_FIELDS = {"from": "from", "to": "to", "cc": "cc", "bcc": "bcc", "subject": "subject", "reply-to": "reply_to"}


def check_value(value: str, field: str) -> str:
    """``value``, which may stand in a header (a tab may, it folds to a space).

    Raises:
        Refusal: 422, a control character or too long.
    """
    if _CONTROL.search(value):
        raise invalid(f"Invalid `{field}` field: a line break or another control character may not stand in a header.")
    if len(value.encode()) > MAX_LINE:
        raise invalid(f"Invalid `{field}` field: it is longer than {MAX_LINE} bytes.")
    return value


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The custom headers of an email.

    Raises:
        Refusal: 422 naming the header.
    """
    if len(headers) > MAX_HEADERS:
        raise invalid(f"Invalid `headers` field: more than {MAX_HEADERS} headers.")
    seen: set[str] = set()
    for name, value in headers.items():
        _check_name(name)
        if name.lower() in seen:
            raise invalid(f"Invalid `headers` field: `{name}` is given twice.")
        seen.add(name.lower())
        check_value(value, f"headers.{name}")
        if len(f"{name}: {value}".encode()) > MAX_LINE:
            raise invalid(f"Invalid `headers` field: `{name}` and its value are longer than {MAX_LINE} bytes.")
    return dict(headers)


def _check_name(name: str) -> None:
    if not _FTEXT.fullmatch(name):
        shown = name[:80].encode("ascii", "backslashreplace").decode()
        raise invalid(
            f"Invalid `headers` field: `{shown}` is not a header name: printable ASCII without spaces and colons."
        )
    low = name.lower()
    if low in _FIELDS:
        raise invalid(f"Invalid `headers` field: `{name}` cannot be set here; use the `{_FIELDS[low]}` field.")
    if low in _OURS or low.startswith(_OUR_PREFIXES):
        raise invalid(f"Invalid `headers` field: `{name}` cannot be set; it is written when the mail is built.")
