"""What a mail costs the sink, by how much it keeps: it must never be what a load test measures."""

import asyncio

import psutil
import pytest
import uvloop

from mailwarren.bench.cpu import CpuMeter
from mailwarren.bench.injector import Envelope, dot_stuffed, inject
from mailwarren.devstack.harness.system import System

MAILS = 4000
BODY = (b"x" * 70 + b"\r\n") * 28
# It refuses nobody, since the injector stops at a refusal, but is asked at every stage: with a share, by a draw.
PERSONA = {"domains": ["*"], "rules": [{"stage": "rcpt", "code": 550, "share": 0.0}], "mails_per_connection": 1_000_000}
SINKS = {
    "full": ("--mode", "full", "--keep", "10000"),
    "full with a persona": ("--mode", "full", "--keep", "10000"),
    "counting": ("--mode", "counting"),
    "counting with a persona": ("--mode", "counting"),
    "bare": ("--mode", "bare"),
}


def mails(run):
    head = "Message-ID: <%d-%d@bench.test>\r\nFrom: a@bench.test\r\nSubject: hello\r\n\r\n"
    return [Envelope(f"user{n}@dom{n % 50}.test", dot_stuffed((head % (run, n)).encode() + BODY)) for n in range(MAILS)]


@pytest.mark.parametrize("case", SINKS)
def bench_sink_takes_4000_mails_over_20_connections(benchmark, tmp_path, capsys, case):
    system = System(tmp_path, amqp_url="", database_url="")
    try:
        witness = system.start_sink(*SINKS[case])
        if "persona" in case:
            witness.play(PERSONA)
        address = system.smtp_url.removeprefix("smtp://")
        (pid,) = [child.pid for child in psutil.Process().children() if "mailwarren-sink" in " ".join(child.cmdline())]
        meter, costs, runs = CpuMeter({"sink": [pid]}), [], iter(range(1_000_000))

        def send_all():
            batch = mails(next(runs))
            meter.start()
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                sent = len(runner.run(inject(address, "a@bench.test", batch)))
            costs.append(meter.read(MAILS)["sink"])
            return sent

        assert benchmark.pedantic(send_all, rounds=5) == MAILS
        assert witness.stats()["accepted"] == len(costs) * MAILS
        cost = sorted(costs)[len(costs) // 2]
        with capsys.disabled():
            print(f"\n  sink, {case}: {cost:.0f} us of CPU a mail, {1e6 / cost:,.0f} mails/s a core")
        assert cost < 200
    finally:
        system.close()
