"""The rivals on few mails: all arrive, all is counted, nothing stays."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from mailwarren.baselines.postfix_relay import missing
from mailwarren.bench.result import Result
from mailwarren.bench.rivals import Missing, NotMeasured, run_postfix, run_smtplib, run_textbook
from mailwarren.bench.stand import Sink
from mailwarren.bench.textbook import TABLE
from mailwarren.bench.work import make_work
from mailwarren.devstack.harness.system import System


@dataclass
class Shared:
    """The tests' servers: others use them too, so their CPU says nothing."""

    amqp_url: str
    database_url: str
    broker_pids: Sequence[int] = ()
    postgres_pids: Sequence[int] = ()


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = System(tmp_path_factory.mktemp("rivals"), amqp_url="", database_url="")
    try:
        system.start_sink()
        yield system
    finally:
        system.close()


@pytest.fixture
def sink(system: System) -> Sink:
    sink = Sink(system)
    sink.forget()
    assert system.sink is not None
    system.sink.play()
    return sink


def arrived(system: System, tag: str) -> list[str]:
    """Who has mail, without those for the warm-up."""
    assert system.sink is not None
    return sorted(record.rcpt for record in system.sink.records() if record.rcpt.startswith(tag))


def check(result: Result, parts: set[str], mails: int) -> None:
    assert result.mails == mails
    assert 0 < result.seconds < 30
    assert result.rate == mails / result.seconds
    assert set(result.cpu) == parts
    # The kernel counts in ticks of 10 ms: what does little may have none.
    assert all(0 <= result.cpu[part] < 100_000 for part in parts)
    assert result.cpu["sender"] > 0


def test_the_smtplib_loop_sends_all(system: System, sink: Sink) -> None:
    work = make_work(60, tag="loop")
    check(run_smtplib(sink, work), {"sender", "sink"}, 60)
    assert arrived(system, "loop") == sorted(one.to for one in work)


def test_a_run_with_a_refused_mail_gives_no_figure(system: System, sink: Sink) -> None:
    work = make_work(20)
    assert system.sink is not None
    system.sink.play({"domains": [work[7].to.partition("@")[2]], "rules": [{"stage": "rcpt", "code": 550}]})
    with pytest.raises(NotMeasured, match="of 20 mails"):
        run_smtplib(sink, work)


def left_over(management_url: str | None, queue: str) -> list[str]:
    """Queues and exchanges that carry the name."""
    if management_url is None:
        return []
    listed = [httpx.get(f"{management_url}/api/{kind}").json() for kind in ("queues", "exchanges")]
    return [row["name"] for rows in listed for row in rows if queue in row["name"]]


def running() -> list[str]:
    """Command lines of the textbook's processes that are ours."""
    lines = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # or a zombie, where no init collects orphans
            lines.append(" ".join(process.cmdline()))
    return [line for line in lines if "textbook" in line]


@pytest.mark.broker
@pytest.mark.postgres
@pytest.mark.parametrize("single", [True, False])
def test_the_textbook_sends_all_writes_them_down_and_leaves_nothing(
    system: System, sink: Sink, rabbitmq: Any, postgres: Any, amqp_prefix: str, single: bool
) -> None:
    work = make_work(80, tag="book")
    queue = f"{amqp_prefix}textbook"
    servers = Shared(rabbitmq.amqp_url, postgres.database_url)
    result = run_textbook(sink, servers, work, single=single, queue=queue)
    check(result, {"client", "ingest", "broker", "sender", "postgres", "sink"}, 80)
    assert 0 < result.latency["p50"] <= result.latency["p99"] < result.seconds
    assert arrived(system, "book") == sorted(one.to for one in work)
    assert left_over(rabbitmq.management_url, queue) == []
    with psycopg.connect(postgres.database_url.replace("+asyncpg", "")) as connection:
        assert connection.execute("select to_regclass(%s)", [TABLE]).fetchone() == (None,)
    assert running() == []


def test_what_is_sent_is_the_template_filled_in(system: System, sink: Sink) -> None:
    (one,) = work = make_work(1, tag="only")
    run_smtplib(sink, work)
    assert system.sink is not None
    url = str(system.sink._client.base_url)
    (summary,) = httpx.get(f"{url}/messages", params={"to": one.to}).json()
    mail = httpx.get(f"{url}/messages/{summary['n']}").json()
    assert mail["subject"] == "Name0, your order A-0000000 is on its way"
    assert "- two pens\n" in mail["text"].replace("\r\n", "\n")
    assert "<li>lamp no. 0</li>" in mail["html"]


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_postfix_passes_all_on(system: System, sink: Sink) -> None:
    work = make_work(150, tag="post")
    result = run_postfix(sink, work)
    assert isinstance(result, Result)
    check(result, {"client", "sender", "sink"}, 150)
    assert arrived(system, "post") == sorted(one.to for one in work)


def test_without_postfix_the_rival_is_reported_as_missing(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_args, **_kwargs: None)
    found = run_postfix(sink, make_work(1))
    assert isinstance(found, Missing)
    assert "apt-get install" in found.why
