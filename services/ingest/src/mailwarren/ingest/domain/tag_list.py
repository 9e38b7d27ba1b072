"""Tag lists, ``a=b; c=d``: the form of DKIM's and DMARC's records (RFC 6376 §3.2)."""

from collections.abc import Iterable


def parse_tags(text: str) -> dict[str, str] | None:
    """The tags with their values, trimmed; None when it is no tag list, or names a tag twice."""
    found: dict[str, str] = {}
    for part in text.split(";"):
        if not part.strip():
            continue
        name, equals, value = part.partition("=")
        name = name.strip().lower()
        if not equals or not name or name in found:
            return None
        found[name] = value.strip()
    return found


def begins_with(texts: Iterable[str], tag: str, value: str) -> list[str]:
    """Those of the texts whose first tag is ``tag=value``, as records that share a name are told apart."""
    chosen = []
    for text in texts:
        name, _, rest = text.partition("=")
        if name.strip().lower() == tag and rest.partition(";")[0].strip().lower() == value.lower():
            chosen.append(text)
    return chosen
