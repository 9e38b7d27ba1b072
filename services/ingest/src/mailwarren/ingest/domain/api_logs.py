"""What is kept of an API call's bodies: enough to see what was asked and answered, and nothing to be kept secret. Pure.

No secrets, no contents of mail, no names, no values of variables and properties; of an address its first letter and its
domain. So what somebody reads here, or a backup holds, is about calls and not about people.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

KEPT = 16 * 1024
"""Octets of a body: of a longer one only its length."""
LONGEST_TEXT = 300
"""Characters of a string."""
MOST_ITEMS = 20
"""Of a list or an object."""
DEEPEST = 12

HIDDEN = "[hidden]"
_SECRET = re.compile(
    r"token|secret|passw|passphrase|authorization|signature|credential|api_?key|private", re.IGNORECASE
)
_CONTENT = frozenset({"html", "text", "content", "preview_text", "amp", "raw"})
_OF_PEOPLE = frozenset({"first_name", "last_name", "full_name", "name"})
"""Hidden beside an address: ``name`` is also what domains, keys and segments are called."""
_VALUES = frozenset({"variables", "metadata", "properties", "headers"})
"""Objects whose keys are shown, and their values not."""
_MAILBOXES = frozenset({"from", "to", "cc", "bcc", "reply_to", "replyTo"})
_ADDRESS = re.compile(r"([^\s@<>\"',;:()\[\]]{1,256})@([^\s@<>\"',;()\[\]]{1,256})")
_QUERY = re.compile(r"(https?://[^\s?#\"'<>]+)[?#][^\s\"'<>]*")
"""Of a link: what makes it one that only its owner has."""
_NAMED = re.compile(r"[^<]*<([^<>]*)>\s*")


def shown_body(body: bytes | int) -> str | None:
    """A body as JSON that may be kept; None for none.

    Args:
        body: the octets, or how many there were when they are too many to be kept.
    """
    if isinstance(body, int) or len(body) > KEPT:
        size = body if isinstance(body, int) else len(body)
        return msgspec.json.encode(f"[{size} bytes]").decode()
    if not body:
        return None
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.json.encode(f"[{len(body)} bytes that are no JSON]").decode()
    return msgspec.json.encode(redact(value)).decode()


def redact(value: Any, key: str = "", depth: int = 0) -> Any:
    """A decoded JSON value without what is not to be kept.

    Args:
        value: whatever JSON has.
        key: of the object that it is in.
        depth: how deep it is in others.
    """
    if depth > DEEPEST:
        return HIDDEN
    if key and _SECRET.search(key) and isinstance(value, str):
        return HIDDEN
    if isinstance(value, str):
        return _text(value, key)
    if isinstance(value, list):
        items = [redact(item, key, depth + 1) for item in value[:MOST_ITEMS]]
        return [*items, f"[{len(value) - MOST_ITEMS} more]"] if len(value) > MOST_ITEMS else items
    if isinstance(value, Mapping):
        return _object(value, key, depth)
    return value


def without_names(text: str) -> str:
    """A text in which of each address only its first letter and its domain are left."""
    return _ADDRESS.sub(lambda found: f"{found[1][0]}…@{found[2]}", text)


def shown_path(path: str) -> str:
    """A path whose parts are without names."""
    return "/".join(map(without_names, path.split("/")))


def _text(value: str, key: str) -> str:
    if key in _CONTENT:
        return f"[{len(value)} characters]"
    if key in _MAILBOXES and (named := _NAMED.fullmatch(value)) is not None:
        value = named[1]
    value = _QUERY.sub(r"\1?…", value)
    return without_names(value[:LONGEST_TEXT]) + ("…" if len(value) > LONGEST_TEXT else "")


def _object(value: Mapping[str, Any], key: str, depth: int) -> dict[str, Any]:
    named = "email" in value or "to" in value
    shown: dict[str, Any] = {}
    for name, item in list(value.items())[:MOST_ITEMS]:
        told = without_names(name[:LONGEST_TEXT])
        if key in _VALUES or (named and name in _OF_PEOPLE):
            shown[told] = HIDDEN
        else:
            shown[told] = redact(item, name, depth + 1)
    if len(value) > MOST_ITEMS:
        shown["…"] = f"[{len(value) - MOST_ITEMS} more]"
    return shown
