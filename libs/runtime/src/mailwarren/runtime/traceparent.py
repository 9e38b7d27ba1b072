"""W3C Trace Context: the ``traceparent`` that says which trace something belongs to, and what in it comes before.

``00-<trace id>-<span id>-<flags>``, 32, 16 and 2 hex digits. The trace id is what all services log as ``trace_id``.
"""

import re
import secrets

HEADER = "traceparent"
"""Its name in HTTP and in AMQP."""
ANSWER = "traceresponse"
"""The header in which an answer says the trace of its request (W3C Trace Context, level 2 draft)."""

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_KNOWN_FLAGS = 0x03
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16


def read_traceparent(value: str | None) -> str | None:
    """The traceparent in a header from outside, in version 00 and with the flags that we know; None when it is none."""
    match = _FORM.fullmatch(value) if value else None
    if match is None:
        return None
    version, trace, span, flags, more = match.groups()
    if version == "ff" or (version == "00" and more is not None) or trace == _NO_TRACE or span == _NO_SPAN:
        return None
    return f"00-{trace}-{span}-{int(flags, 16) & _KNOWN_FLAGS:02x}"


def new_traceparent() -> str:
    """The beginning of a trace of which no spans are recorded here: its flags are 00."""
    digits = secrets.token_hex(24)
    return f"00-{digits[:32]}-{digits[32:]}-00"


def trace_id_of(traceparent: str | None) -> str | None:
    """The trace id; None for what is no traceparent, such as that of a message from a version without."""
    return traceparent[3:35] if traceparent and len(traceparent) == 55 else None  # noqa: PLR2004 - the form above
