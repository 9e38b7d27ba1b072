"""The SMTP client against a real sink, and what a reply means."""

import asyncio

import pytest
import uvloop

from mailwarren.contracts.reply import Reply
from mailwarren.sender.domain.classify import read_reply
from mailwarren.sender.rules.book import built_in
from mailwarren.sender.rules.replies import read_replies
from mailwarren.sender.smtp import (
    ClientSettings,
    Envelope,
    Host,
    Pool,
    Site,
    SiteLimits,
    Timeouts,
    TlsContexts,
    prepare_data,
)

DATA = prepare_data(b"Subject: hello\r\n\r\n" + (b"x" * 70 + b"\r\n") * 28)
MAILS = 1000
REPLIES = {
    "taken": Reply(250, "queued as 12345", "2.0.0"),
    "unknown user": Reply(550, "The email account that you tried to reach does not exist.", "5.1.1"),
    "nothing known": Reply(554, "transaction failed for reasons of our own", "5.0.0"),
}


@pytest.mark.parametrize("case", REPLIES)
def bench_classify(benchmark, case):
    assert benchmark(read_reply, REPLIES[case], 1, read_replies([built_in("replies")])).kind


@pytest.mark.parametrize("behind", [0, 3])
def bench_1000_mails_over_20_connections(benchmark, sink, behind):
    """``behind``: how many envelopes may follow the data before them without waiting for its reply."""
    _send(benchmark, sink, SiteLimits(connections=20, behind=behind))


@pytest.mark.parametrize("behind", [0, 3])
@pytest.mark.parametrize("chunking", [False, True], ids=["data", "bdat"])
def bench_1000_mails_with_data_or_bdat(benchmark, chunking_sink, chunking, behind):
    """Both to a sink that offers CHUNKING."""
    _send(benchmark, chunking_sink, SiteLimits(connections=20, behind=behind, chunking=chunking))


def _send(benchmark, sink, limits):
    host, _, port = sink.rpartition(":")
    site = Site("sink", (Host(host, int(port)),), limits=limits)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:

        async def open_pool() -> Pool:
            return Pool(ClientSettings("bench.example", TlsContexts(), Timeouts()))

        pool = runner.run(open_pool())

        async def send_all() -> int:
            sent = [pool.send(site, Envelope("a@b.test", f"r{n}@d.test"), DATA, lambda: True) for n in range(MAILS)]
            return sum(one.outcome.code == 250 for one in await asyncio.gather(*sent))

        assert benchmark(lambda: runner.run(send_all())) == MAILS
        runner.run(pool.close(1.0))
