"""MTA-STS (RFC 8461): the record that announces a policy, the policy itself, and which mail hosts it allows. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

LONGEST_AGE = 31_557_600
"""Seconds: a year, the most that a policy may ask to be kept (RFC 8461 §3.2)."""
MOST_MX = 100
"""Patterns of a policy; more would be no list of anybody's mail hosts."""
LONGEST_POLICY = 64 * 1024
"""Octets (RFC 8461 §3.3)."""

_RECORD = re.compile(r"v=STSv1\s*;\s*(?P<rest>.*)", re.DOTALL)
_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_FIELD = re.compile(r"(?P<key>[A-Za-z0-9][A-Za-z0-9_.-]{0,31})\s*:\s*(?P<value>.*?)\s*")
_MX = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*")


class StsMode(StrEnum):
    """What a policy asks for."""

    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


class StsInvalid(ValueError):
    """What a domain serves is no policy; the text says why."""


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """A domain's policy.

    Attributes:
        mode: What it asks for.
        mx: Patterns of mail hosts, lower case.
        max_age: Seconds that it may be kept.
        lines: As it was served, for reports.
    """

    mode: StsMode
    mx: tuple[str, ...]
    max_age: int
    lines: tuple[str, ...] = ()

    def allows(self, host: str) -> bool:
        """Whether ``host`` is one of its mail hosts: ``*.`` stands for exactly one label (RFC 8461 §4.1)."""
        return host in self.mx or "*." + host.partition(".")[2] in self.mx


def read_record(texts: Iterable[str]) -> str | None:
    """The id in the TXT records of ``_mta-sts.<domain>``; None when not exactly one of them announces a policy."""
    announced = [found["rest"] for text in texts if (found := _RECORD.fullmatch(text.strip())) is not None]
    if len(announced) != 1:
        return None
    for part in announced[0].split(";"):
        key, equals, value = part.strip().partition("=")
        if equals and key.strip() == "id" and _ID.fullmatch(value.strip()):
            return value.strip()
    return None


def read_policy(body: bytes) -> StsPolicy:
    """Read what a domain serves at ``/.well-known/mta-sts.txt``.

    Of a key that stands there twice the first counts, but for ``mx``; unknown keys are passed over.

    Raises:
        StsInvalid: it is no policy.
    """
    lines = _lines(body)
    fields: dict[str, str] = {}
    mx: list[str] = []
    for line in lines:
        found = _FIELD.fullmatch(line)
        if found is None:
            raise StsInvalid("a line that is no `key: value`")
        if found["key"] == "mx":
            mx.append(found["value"].lower().rstrip("."))
        else:
            fields.setdefault(found["key"], found["value"])
    if fields.get("version") != "STSv1":
        raise StsInvalid("not version STSv1")
    try:
        mode = StsMode(fields.get("mode", ""))
    except ValueError:
        raise StsInvalid("mode is neither enforce, testing nor none") from None
    if mode is not StsMode.NONE and not mx:
        raise StsInvalid("no mx")
    if len(mx) > MOST_MX or not all(map(_MX.fullmatch, mx)):
        raise StsInvalid("an mx that is neither a host nor `*.` and a domain")
    return StsPolicy(mode, tuple(mx), _age(fields.get("max_age", "")), lines)


def _lines(body: bytes) -> tuple[str, ...]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StsInvalid("not UTF-8") from error
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not all(map(str.isprintable, lines)):
        raise StsInvalid("control characters")
    return lines


def _age(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(LONGEST_AGE)) or int(text) > LONGEST_AGE:
        raise StsInvalid(f"max_age is not a number up to {LONGEST_AGE}")
    return int(text)
