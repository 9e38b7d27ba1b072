"""What a fuzzer sends: refused with a word about it, never a crash."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest

from mailwarren.ingest.api.body import is_large, length_of
from mailwarren.ingest.domain.cursor import parse_id, parse_limit, parse_page
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.privacy import PrivacyBody, check_email
from mailwarren.ingest.domain.refusal import Refusal
from mailwarren.ingest.domain.requests import EmailBody
from mailwarren.ingest.domain.suppression_csv import _moment
from mailwarren.ingest.domain.suppressions import check_end

NOW = datetime(2026, 11, 22, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-14)))
"""In UTC it is a moment that Python has no word for."""

ODD = {
    "a length of superscripts": lambda: length_of("²"),
    "a length of Arabic digits": lambda: length_of("٣"),
    "a length with a sign": lambda: length_of("-1"),
    "an empty length": lambda: length_of(""),
    "a length that no int is read from": lambda: length_of("9" * 5000),
    "a large length of superscripts": lambda: is_large("²", 1, 10),
    "an end beyond the year 9999": lambda: check_end(LAST, None, NOW),
    "an id with a NUL": lambda: parse_id("\0"),
    "an id of another alphabet": lambda: parse_id("é" * 32),
    "a limit of Arabic digits": lambda: parse_limit("٣"),
    "a long limit": lambda: parse_limit("1" * 5000),
    "a cursor that is none": lambda: parse_page({"after": "null"}),
    "two cursors": lambda: parse_page({"after": str(uuid4()), "before": str(uuid4())}),
    "a lone surrogate": lambda: decode(b'{"type": "export", "email": "\\ud800"}', PrivacyBody),
    "no UTF-8": lambda: decode(b'{"type": "export", "email": "\xff"}', PrivacyBody),
    "a body that is nested too deeply": lambda: decode(b"[" * 100_000, PrivacyBody),
    "deep variables": lambda: decode(b'{"to": ' + b"[" * 100_000, EmailBody),
    "NaN": lambda: decode(b'{"type": NaN}', PrivacyBody),
    "a number too large": lambda: decode(b'{"type": 1e999}', PrivacyBody),
    "a number too long": lambda: decode(b'{"type": ' + b"9" * 5000 + b"}", PrivacyBody),
    "a list for an object": lambda: decode(b"[]", PrivacyBody),
    "nothing": lambda: decode(b"", PrivacyBody),
    "an address with a NUL": lambda: check_email("a\0b@x.test"),
    "an address with a surrogate": lambda: check_email("\udcff@x.test"),
    "a long address": lambda: check_email("a" * 100_000 + "@x.test"),
}


@pytest.mark.parametrize("call", [ODD[name] for name in sorted(ODD)], ids=sorted(ODD))
def test_it_is_refused(call):
    with pytest.raises(Refusal) as caught:
        call()
    assert caught.value.status in {400, 422}
    caught.value.message.encode()


def test_a_time_in_a_file_that_python_cannot_say_is_a_bad_cell():
    with pytest.raises(ValueError, match="too far"):
        _moment(LAST.isoformat())
