"""The injector against a real sink."""

import pytest

from mailwarren.bench.injector import Envelope, Refused, dot_stuffed, inject
from mailwarren.sink.server import running_sink


def mails(count: int, domain: str = "d.test") -> list[Envelope]:
    content = [b"Message-ID: <%d@x>\r\n\r\n.hidden dot\r\n" % n for n in range(count)]
    return [Envelope(f"u{n}@{domain}", dot_stuffed(one)) for n, one in enumerate(content)]


async def test_each_mail_goes_once_over_kept_connections() -> None:
    async with running_sink() as sink:
        injected = await inject(f"{sink.smtp_host}:{sink.smtp_port}", "a@x.test", mails(60), connections=5)
        records = list(sink.store.records.select(0, 100))
        assert {(record.message_id, record.rcpt) for record in records} == {
            (f"<{n}@x>", f"u{n}@d.test") for n in range(60)
        }
        assert len({record.connection for record in records}) == 5
        assert next(iter(sink.store.mailbox.newest())).raw.endswith(b"\r\n\r\n.hidden dot\r\n")
        stats = sink.store.stats()
        assert (stats.accepted, stats.protocol_errors) == (60, {})
    assert len(injected) == 60
    first, last = min(one.started_at for one in injected), max(one.started_at + one.seconds for one in injected)
    assert first <= min(record.received_at for record in records)
    assert last >= max(record.received_at for record in records) - 0.01
    assert all(one.seconds > 0 for one in injected)


async def test_a_refused_mail_ends_the_run() -> None:
    rules = [{"stage": "dot", "code": 452, "text": "No room"}]
    async with running_sink(script={"personas": [{"domains": ["full.test"], "rules": rules}]}) as sink:
        with pytest.raises(Refused, match=r"452 .*No room"):
            await inject(f"{sink.smtp_host}:{sink.smtp_port}", "a@x.test", mails(3, "full.test"))
