"""What the subjects of a bulk call may cost, and that other requests have their turn meanwhile."""

import asyncio
import time

import msgspec
import pytest

from mailwarren.ingest.api.bulk import validate_rows
from mailwarren.ingest.domain.bulk import SUBJECTS_WORK, BulkMail, validate_bulk, validate_row
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.refusal import Refusal
from mailwarren.ingest.domain.requests import BulkBody

ROW = msgspec.Raw(b'{"to": "bob@example.test", "variables": {"name": "Bob"}}')
# 98,000 characters of comments, out of 4 kB with 200 rows.
STRIPPED = "{% set s = '<!---->' * 14000 %}{% for i in range(40) %}{{ s|striptags }}{% endfor %}x"


def call(subject: str, rows: int) -> BulkMail:
    body = {"from": "ada@s.test", "subject": subject, "text": "x", "recipients": [{"to": "bob@example.test"}] * rows}
    return validate_bulk(decode(msgspec.json.encode(body), BulkBody))


def loop(times: int) -> str:
    return f"{{% set x %}}{{% for i in range({times}) %}}{{{{ i }}}}{{% endfor %}}{{% endset %}}{{{{ name }}}}"


def accepted(mail: BulkMail) -> bool:
    try:
        validate_row(mail, 0, ROW)
    except Refusal as refusal:
        if "too much work" not in refusal.message:
            raise
        return False
    return True


def test_the_subjects_of_a_call_share_its_work_equally() -> None:
    assert [accepted(call(loop(900), rows)) for rows in (1, 100, 1000, 10_000)] == [True, True, False, False]
    assert [accepted(call(loop(20), rows)) for rows in (1, 10_000)] == [True, True]
    assert call("x", 10_000).subject_work == SUBJECTS_WORK // 10_000


@pytest.mark.parametrize("subject", [STRIPPED, loop(900)])
def test_all_subjects_of_a_call_take_a_second_at_most(subject: str) -> None:
    mail = call(subject, 200)
    begin = time.process_time()
    for _ in range(200):
        accepted(mail)
    assert time.process_time() - begin < 1.0


async def test_other_requests_have_their_turn_between_heavy_rows() -> None:
    mail = call(loop(900), 90)
    assert accepted(mail)
    turns, done = 0, False

    async def other_requests() -> None:
        nonlocal turns
        while not done:
            await asyncio.sleep(0)
            turns += 1

    others = asyncio.create_task(other_requests())
    await asyncio.sleep(0)
    emails, errors = await validate_rows(mail, [ROW] * 400)
    found, done = turns, True
    await others
    assert (len(emails), errors) == (400, [])
    # A hundred milliseconds of work in turns of five. A slow machine gives more turns; counting rows would give few.
    assert found >= 6, f"{found} turns"
