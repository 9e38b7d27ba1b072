"""Addresses: RFC 5322 mailboxes as the API takes them, RFC 5321 addresses as the senders need them.

Local parts may go beyond ASCII (RFC 6531): they are composed (NFC) and otherwise stay as they are; domains beyond ASCII
become A-labels (UTS #46). Not taken, with words that say so: group syntax, quoted local parts, domain literals, and
local parts that people or programs would misread. Nothing is looked up in the DNS; special-use domains (``.test``,
``.local``) are for the operator to know.
"""

import re
import unicodedata
from functools import cache

import email_validator
import idna
import msgspec

from mailwarren.contracts.address_key import address_key

MAX_NAME = 256
"""Characters of a display name."""
MAX_MAILBOX = 1000
"""Characters of a name with its address, quotes and all."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\s*<([^<>]*)>')
_NAMED = re.compile(r'([^<>"(),:;@\[\]\\]*)<([^<>]*)>')
# atext and spaces, or anything outside ASCII: such a phrase needs no quotes (RFC 5322 §3.2.3, RFC 6532 §3.2).
_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ \-\u00a0-\U0010ffff]*")
# What nearly every address is; the library agrees with it (a property test compares them) and takes 20 times as long.
_PLAIN = re.compile(
    r"(?=[^@]{1,64}@)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?!.*--)((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63})"
)
MAX_PLAIN = 254
MAX_LOCAL = 64
"""Octets before the @ (RFC 5321 §4.5.3.1.1), in UTF-8 where it goes beyond ASCII (RFC 6531 §3.3)."""
_FORM = "an address looks like `ada@example.com` or `Ada <ada@example.com>`"


class InvalidAddress(ValueError):
    """Not an address that mail can be sent to; the text says why."""


class Mailbox(msgspec.Struct, frozen=True, gc=False):
    """A display name (may be empty) and an address whose domain is lower case A-labels."""

    name: str
    address: str

    @property
    def domain(self) -> str:
        """What stands after the @."""
        return self.address.rpartition("@")[2]

    @property
    def key(self) -> str:
        """What the address is compared by."""
        return address_key(self.address)

    def text(self) -> str:
        """RFC 5322 §3.4 text; the name is quoted where it must be."""
        if not self.name:
            return self.address
        if _PHRASE.fullmatch(self.name):
            return f"{self.name} <{self.address}>"
        escaped = self.name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}" <{self.address}>'


def parse_mailbox(value: str) -> Mailbox:
    """Read ``ada@example.com``, ``Ada <ada@example.com>`` or ``"Lovelace, Ada" <ada@example.com>``.

    Raises:
        InvalidAddress: it is none of these.
    """
    if len(value) <= MAX_PLAIN and (plain := _PLAIN.fullmatch(value)):
        return Mailbox("", value[: plain.start(1)] + plain[1].lower())
    value = _clean(value)
    if "<" not in value:
        return Mailbox("", _address(value))
    if quoted := _QUOTED.fullmatch(value):
        name = re.sub(r"\\(.)", r"\1", quoted.group(1)).strip()
    elif named := _NAMED.fullmatch(value):
        name = named.group(1).strip()
    else:
        raise InvalidAddress(
            f'{_FORM}; a name with special characters stands in quotes: `"Lovelace, Ada" <ada@example.com>`'
        )
    if len(name) > MAX_NAME:
        raise InvalidAddress(f"the name is longer than {MAX_NAME} characters")
    return Mailbox(name, _address(value[value.rindex("<") + 1 : -1].strip()))


def parse_address(value: str) -> str:
    """A bare address with its domain in lower case A-labels.

    Raises:
        InvalidAddress: see :func:`parse_mailbox`.
    """
    return _address(_clean(value))


def composed(value: str) -> str:
    """A text in the form (NFC) in which addresses are kept and compared (RFC 6532 §3.1)."""
    return value if value.isascii() else unicodedata.normalize("NFC", value)


def _clean(value: str) -> str:
    if len(value) > MAX_MAILBOX:
        raise InvalidAddress(f"it is longer than {MAX_MAILBOX} characters")
    if _CONTROL.search(value):
        raise InvalidAddress("it contains a line break or another control character")
    return value.strip()


def _address(value: str) -> str:
    if len(value) <= MAX_PLAIN and (plain := _PLAIN.fullmatch(value)):
        return value[: plain.start(1)] + plain[1].lower()
    return _unusual_address(value)


def _unusual_address(value: str) -> str:
    value = composed(value)
    if not value:
        raise InvalidAddress(f"it is empty; {_FORM}")
    if ":" in value and value.endswith(";"):
        raise InvalidAddress("groups are not supported: give each address as an element of the list")
    if "," in value or ";" in value:
        raise InvalidAddress("it holds several addresses: give each as an element of the list")
    _allow_special_use_domains()
    try:
        # Strict: with a limit for the local part. It knows no control, format (zero-width and direction marks among
        # them), private or unassigned characters, and no spaces.
        checked = email_validator.validate_email(value, check_deliverability=False, strict=True)
    except email_validator.EmailNotValidError as error:
        raise InvalidAddress(str(error)) from error
    # The library lower-cases some local parts (postmaster); the receiver decides about those, not we.
    local = checked.original.rpartition("@")[0]
    if not local.isascii():
        _check_local(local)
    return f"{local}@{checked.ascii_domain}"


def _check_local(local: str) -> None:
    """Raise for a local part beyond ASCII that is too long, or may be read as another."""
    if (octets := len(local.encode())) > MAX_LOCAL:
        raise InvalidAddress(f"it has {octets} octets of UTF-8 before the @; at most {MAX_LOCAL} are allowed")
    for character in local:
        # A full-width @ and the like, which some program on the way will take for the mark itself (UTS #39 §3.3).
        if not character.isascii() and any(map(_is_mark, unicodedata.normalize("NFKC", character))):
            name = unicodedata.name(character, f"U+{ord(character):04X}")
            raise InvalidAddress(f"before the @ stands {name}, another form of an ASCII mark or space")
    try:
        idna.check_bidi(local)
    except idna.IDNAError as error:
        raise InvalidAddress(
            "before the @ it mixes writing from right to left with other writing so that it may be read in two ways "
            "(RFC 5893)"
        ) from error
    if (key := address_key(local)) != composed(key):
        # H with a macron below has no composed form, h has one: the key would be that of no address.
        raise InvalidAddress("before the @ stands a capital letter whose accented form Unicode has in lower case only")


def _is_mark(character: str) -> bool:
    return character.isascii() and not character.isalnum()


@cache
def _allow_special_use_domains() -> None:
    # The library's documented switch: whether .local or .test may be mailed is for the operator's DNS to say.
    email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()
