"""Domain names as SMTP and DNS want them, and the site that a mail host belongs to."""

import re

import idna

_SHORT_LABEL = 3
_COUNTRY_LABEL = 2
_LONGEST_NAME = 253
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")


def ascii_domain(domain: str) -> str:
    """Return the lower-case A-label form of ``domain`` (RFC 5891), without a trailing dot.

    Raises:
        ValueError: it is not a domain name (empty or over-long label, a character that no host name has).
    """
    name = domain.lower().removesuffix(".")
    if not name.isascii():
        name = idna.encode(name, uts46=True).decode("ascii")
    labels = name.split(".")
    if len(name) > _LONGEST_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("not a domain name")
    return name


def site_name(mail_host: str) -> str:
    """Name the site of a ``mail_host`` that no row of shaping names: roughly its registered domain.

    Hosts of ``co.uk``-like suffixes keep three labels; no public-suffix list is consulted, because a wrong guess
    costs nothing but a limit shared with a neighbour.
    """
    labels = mail_host.split(".")
    second_level = len(labels) > 2 and len(labels[-1]) == _COUNTRY_LABEL and len(labels[-2]) <= _SHORT_LABEL  # noqa: PLR2004
    return ".".join(labels[-3:] if second_level else labels[-2:])
