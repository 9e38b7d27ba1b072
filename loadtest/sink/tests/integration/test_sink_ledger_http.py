"""The ledger, the windows, the timeline and the metrics over HTTP, in every mode."""

import csv
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mailwarren.sink.ledger import digest_of
from mailwarren.sink.server import Sink, running_sink
from mailwarren.sink.store import Mode

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])  # the loop that the program runs on

Serving = Callable[..., AbstractAsyncContextManager[tuple[Sink, httpx.AsyncClient]]]


@pytest.fixture
def serving() -> Serving:
    @asynccontextmanager
    async def serve(**options: Any) -> AsyncIterator[tuple[Sink, httpx.AsyncClient]]:
        async with (
            running_sink(**options) as sink,
            httpx.AsyncClient(base_url=sink.addresses.http, timeout=10, trust_env=False) as web,
        ):
            yield sink, web

    return serve


async def deliver(dial: Any, sink: Sink, *mails: tuple[int, bytes]) -> None:
    async with dial(sink) as client:
        for n, to in mails:
            assert (await client.envelope(to))[-1] == 354
            client.say(b"Message-ID: <%d@x>\r\n\r\nhi\r\n.\r\n" % n)
            await client.codes(1)


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_the_ledger_names_each_pair_and_its_copies(serving: Serving, dial: Any) -> None:
    script = {"personas": [{"domains": ["y.test"], "rules": [{"stage": "dot", "code": 451, "first_attempts": 1}]}]}
    async with serving(script=script) as (sink, web):
        await deliver(dial, sink, (1, b"u@x.test"), (2, b"u@y.test"), (1, b"u@x.test"), (2, b"u@y.test"))
        one, two = lines(await web.get("/ledger"))
        assert (one["message_id"], one["rcpt"], one["dots"], one["accepted"]) == ("<1@x>", "u@x.test", 2, 2)
        assert (two["message_id"], two["rcpt"], two["dots"], two["accepted"]) == ("<2@x>", "u@y.test", 2, 1)
        assert one["digest"] == digest_of(b"<1@x>", b"u@x.test").hex()
        assert one["first_at"] < one["last_at"]
        assert [e["message_id"] for e in lines(await web.get("/ledger?accepted_at_least=2"))] == ["<1@x>"]
        assert [e["message_id"] for e in lines(await web.get("/ledger?since=1&limit=5"))] == ["<2@x>"]
        assert lines(await web.get("/ledger?limit=0")) == []
        rows = list(csv.DictReader(io.StringIO((await web.get("/ledger?format=csv")).text)))
        assert [(r["message_id"], r["rcpt"], r["accepted"]) for r in rows] == [
            ("<1@x>", "u@x.test", "2"),
            ("<2@x>", "u@y.test", "1"),
        ]
        assert (await web.get("/ledger?message_id=<1@x>&rcpt=u@x.test")).json() == one
        assert (await web.get("/ledger?message_id=<3@x>&rcpt=u@x.test")).status_code == 404
        for wrong in ("format=xml", "message_id=<1@x>", "since=-1", "accepted_at_least=x"):
            assert (await web.get(f"/ledger?{wrong}")).status_code == 422


async def test_counting_keeps_digests_and_tells_duplicates(serving: Serving, dial: Any) -> None:
    async with serving(mode=Mode.COUNTING) as (sink, web):
        await deliver(dial, sink, *[(n % 3000, b"u@x.test") for n in range(3010)])
        stats = (await web.get("/stats")).json()
        assert [stats[key] for key in ("received", "accepted", "unique", "duplicates")] == [3010, 3010, 3000, 10]
        entries = lines(await web.get("/ledger"))
        assert {e["digest"] for e in entries} == {digest_of(b"<%d@x>" % n, b"u@x.test").hex() for n in range(3000)}
        assert {e["message_id"] for e in entries} == {None}
        assert (await web.get("/ledger?message_id=<7@x>&rcpt=u@x.test")).json()["accepted"] == 2
        for path in ("/records", "/pairs"):
            answer = await web.get(path)
            assert answer.status_code == 409 and "mode counting" in answer.json()["error"]
        assert (await web.get("/messages")).json() == []
        assert (await web.delete("/messages")).json() == {"deleted": 3010}
        assert lines(await web.get("/ledger")) == []


async def test_bare_counts_and_says_that_it_knows_no_duplicates(serving: Serving, dial: Any) -> None:
    async with serving(mode=Mode.BARE) as (sink, web):
        await deliver(dial, sink, (1, b"u@x.test"), (1, b"u@x.test"))
        stats = (await web.get("/stats")).json()
        assert [stats[key] for key in ("received", "accepted", "unique", "duplicates")] == [2, 2, None, None]
        assert (await web.get("/ledger")).status_code == 409
        assert "mailwarren_sink_duplicates" not in (await web.get("/metrics")).text
        assert (await web.get("/")).status_code == 200


async def test_windows_are_of_a_site(serving: Serving, dial: Any) -> None:
    async with serving(script={"personas": [{"name": "big", "domains": ["x.test"]}]}) as (sink, web):
        now = sink._receiver.clock()
        await deliver(dial, sink, (1, b"u@x.test"), (2, b"u@y.test"))
        await sink.wait_until(lambda stats: stats.connections_open == 0)
        sink._receiver.clock = lambda: now + 60
        counts = {}
        for site in ("all", "big", "none", sink.addresses.smtp):
            answer = (await web.get("/windows", params={"site": site, "seconds": "5"})).json()
            counts[site] = (
                sum(w["accepted"] for w in answer["windows"]),
                max(w["connections_peak"] for w in answer["windows"]),
            )
            assert (answer["site"], answer["seconds"], answer["step"], answer["open"]) == (site, 5, 5, 0)
        assert counts == {"all": (2, 1), "big": (1, 1), "none": (1, 0), sink.addresses.smtp: (2, 1)}
        assert len((await web.get("/windows?seconds=5&step=1")).json()["windows"]) > 40
        assert len((await web.get("/windows?limit=3")).json()["windows"]) == 3
        assert "all, none, big" in (await web.get("/windows?site=nobody")).json()["error"]
        for wrong in ("seconds=0", "seconds=9999", "step=0", "since=x", "limit=10001"):
            assert (await web.get(f"/windows?{wrong}")).status_code == 422


async def test_events_are_added_listed_and_canceled(serving: Serving, dial: Any) -> None:
    event = {"at_s": 0, "for_s": 120, "persona": {"like": "suspended", "domains": ["x.test"]}}
    async with serving(script={}) as (sink, web):
        added = await web.post("/script/timeline", json=event)
        assert (added.status_code, added.json()["id"], added.json()["state"]) == (201, 1, "in_force")
        later = (await web.post("/script/timeline", json=event | {"at_s": 60})).json()
        assert later["state"] == "coming" and later["ends_at"] - later["starts_at"] == pytest.approx(120)
        shown = (await web.get("/script")).json()
        assert [[e["id"] for e in shown["now"][key]] for key in ("in_force", "coming")] == [[1], [2]]
        async with dial(sink) as client:
            assert await client.ask(b"MAIL FROM:<a@x.test>", b"RCPT TO:<u@x.test>") == [250, 421]
        page = (await web.get("/")).text
        assert "Timeline" in page and "suspended" in page and "in force" in page
        assert (await web.delete("/script/timeline/1")).json()["state"] == "canceled"
        assert (await web.delete("/script/timeline/9")).status_code == 404
        await deliver(dial, sink, (1, b"u@x.test"))
        assert [e["state"] for e in (await web.get("/script/timeline")).json()] == ["canceled", "coming"]
        bad = await web.post("/script/timeline", json={"persona": {"like": "nobody"}})
        assert bad.status_code == 422 and "$.persona" in bad.json()["error"]
        # What GET says can be posted again: a script that is put back after a test.
        assert (await web.post("/script", json=shown)).status_code == 200
        assert (await web.get("/script/timeline")).json() == []


async def test_a_script_may_be_toml(serving: Serving) -> None:
    async with serving() as (_, web):
        toml = {"content-type": "application/toml"}
        answer = await web.post("/script", content=b'[[personas]]\nlike = "apple"\n', headers=toml)
        assert answer.status_code == 200 and answer.json()["personas"][0]["mails_per_connection"] == 5
        assert (await web.post("/script", content=b"[[personas", headers=toml)).status_code == 422
        assert "tarpit" in (await web.get("/personas")).json()
        page = (await web.get("/")).text
        assert "5 mails each" in page and "icloud.com" in page


async def test_metrics_are_what_prometheus_reads(serving: Serving, dial: Any) -> None:
    script = {
        "personas": [{"name": "big", "domains": ["x.test"], "rules": [{"stage": "rcpt", "code": 550, "share": 1}]}]
    }
    async with serving(script=script) as (sink, web), dial(sink) as client:
        await deliver(dial, sink, (1, b"u@y.test"), (1, b"u@y.test"))
        assert await client.ask(b"MAIL FROM:<a@x.test>", b"RCPT TO:<u@x.test>") == [250, 550]
        await sink.wait_until(lambda stats: stats.connections_open == 1)
        answer = await web.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        samples = {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }
        assert samples == {
            ("mailwarren_sink_connections",): 1,
            ("mailwarren_sink_connections_opened_total",): 2,
            ("mailwarren_sink_mails_total", "none"): 2,
            ("mailwarren_sink_mails_total", "big"): 0,
            ("mailwarren_sink_replies_total", "250", "none"): 2,
            ("mailwarren_sink_replies_total", "550", "big"): 1,
            ("mailwarren_sink_duplicates",): 1,
            ("mailwarren_sink_bytes_total",): 50,
        }


async def test_the_authority_is_there_to_be_trusted(serving: Serving) -> None:
    async with serving(tls=True) as (sink, web):
        assert (await web.get("/ca.pem")).content == sink.certificates.pem
