"""The textbook's task, run in this process. The whole of it is run by the bench's tests."""

import asyncio
import smtplib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailwarren.baselines import textbook_tasks
from mailwarren.baselines.textbook_tasks import engine, metadata, send_mail, sent_mails
from mailwarren.sink.server import Sink, running_sink


@pytest.fixture
def settings(postgres: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in ("subject.txt", "text.txt", "html.html"):
        (tmp_path / name).write_text("Hello {{ name }}\n")
    monkeypatch.setenv("TEXTBOOK_DATABASE_URL", postgres.database_url.replace("+asyncpg", "+psycopg"))
    monkeypatch.setenv("TEXTBOOK_TEMPLATES", str(tmp_path))
    monkeypatch.setenv("TEXTBOOK_FROM", "ada@sender.test")
    metadata.create_all(engine())
    yield monkeypatch
    metadata.drop_all(engine())
    engine().dispose()
    for cached in (engine, textbook_tasks.letter, textbook_tasks.smtp_server):
        cached.cache_clear()


def rows() -> list[Any]:
    with engine().connect() as connection:
        return list(connection.execute(sent_mails.select()))


async def run(sink: Sink, settings: pytest.MonkeyPatch) -> Any:
    """The task's result; run so, Celery retries at once."""
    settings.setenv("TEXTBOOK_SMTP", f"{sink.smtp_host}:{sink.smtp_port}")
    return await asyncio.to_thread(send_mail.apply, args=["bob@d.test", {"name": "Bob"}])


@pytest.mark.postgres
async def test_a_sent_mail_is_a_row(settings: pytest.MonkeyPatch) -> None:
    async with running_sink() as sink:
        assert (await run(sink, settings)).successful()
        (record,) = sink.store.records.select(0, 10)
    (row,) = rows()
    assert (row.recipient, row.message_id) == (record.rcpt, record.message_id)
    assert row.task_id


@pytest.mark.postgres
async def test_a_mail_that_was_not_taken_is_tried_again(settings: pytest.MonkeyPatch) -> None:
    rules = [{"stage": "rcpt", "code": 451, "first_attempts": 2}]
    async with running_sink(script={"personas": [{"domains": ["*"], "rules": rules}]}) as sink:
        assert (await run(sink, settings)).successful()
        assert sink.store.stats().by_code == {250: 1, 451: 2}
    assert len(rows()) == 1


@pytest.mark.postgres
async def test_after_three_retries_it_is_given_up_without_a_row(settings: pytest.MonkeyPatch) -> None:
    rules = [{"stage": "rcpt", "code": 451}]
    async with running_sink(script={"personas": [{"domains": ["*"], "rules": rules}]}) as sink:
        result = await run(sink, settings)
        assert isinstance(result.result, smtplib.SMTPRecipientsRefused)
        assert sink.store.stats().by_code == {451: 4}
    assert rows() == []
