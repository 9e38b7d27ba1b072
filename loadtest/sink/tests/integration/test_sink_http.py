"""The HTTP side of a running sink."""

import json
from collections.abc import AsyncIterator
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

import httpx
import pytest

from mailwarren.sink.server import Sink, running_sink

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])  # the loop that the program runs on

EVIL = "<script>alert(1)</script>"


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with running_sink() as running:
        yield running


@pytest.fixture
async def web(sink: Sink) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=sink.addresses.http, timeout=10, trust_env=False) as client:
        yield client


def a_mail(n: int, *, html: str | None = None, subject: str = "Grüße") -> bytes:
    mail = EmailMessage()
    mail["From"], mail["Message-ID"], mail["Subject"] = "Zoë <z@x.test>", f"<{n}@run1>", subject
    mail.set_content("Hallo\n")
    if html is not None:
        mail.add_alternative(html, subtype="html")
    return mail.as_bytes(policy=SMTP)


@pytest.fixture
def deliver(sink: Sink, dial: Any) -> Any:
    async def send(*mails: bytes, to: bytes = b"u@y.test") -> None:
        async with dial(sink) as client:
            for mail in mails:
                assert (await client.envelope(*to.split()))[-1] == 354
                client.say(mail + b".\r\n")
                await client.codes(1)

    return send


def lines(response: httpx.Response) -> list[Any]:
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


async def test_stats_pairs_and_records_tell_one_story(
    web: httpx.AsyncClient, deliver: Any, dial: Any, sink: Sink
) -> None:
    await deliver(a_mail(1), a_mail(2), a_mail(1))
    sink.play({"personas": [{"domains": ["cut.test"], "drop_after_dot": 1}]})
    async with dial(sink) as client:
        await client.envelope(b"v@cut.test")
        client.say(a_mail(3) + b".\r\n")
        assert await client.ends()
    stats = (await web.get("/stats")).json()
    assert tuple(
        stats[key] for key in ("received", "accepted", "refused", "unanswered", "dropped", "unique", "duplicates")
    ) == (4, 3, 0, 1, 1, 2, 1)
    assert stats["by_code"] == {"250": 3}
    assert stats["by_domain"]["cut.test"] == {"received": 1, "accepted": 0, "refused": 0, "unanswered": 1, "dropped": 1}
    assert stats["bytes"] == sum(len(a_mail(n)) for n in (1, 2, 1, 3))
    pairs = lines(await web.get("/pairs"))
    assert pairs == [["<1@run1>", "u@y.test", 2, 0], ["<2@run1>", "u@y.test", 1, 0], ["<3@run1>", "v@cut.test", 0, 1]]
    records = lines(await web.get("/records"))
    assert [record["n"] for record in records] == [0, 1, 2, 3]
    assert [record["answered_at"] is None for record in records] == [False, False, False, True]
    assert {
        "n",
        "mail",
        "message_id",
        "rcpt",
        "received_at",
        "answered_at",
        "code",
        "size",
        "connection",
        "port",
    } == set(records[0])


async def test_records_are_read_in_slices(web: httpx.AsyncClient, sink: Sink) -> None:
    records = sink.store.records
    for n in range(7000):
        domain = b"even" if n % 2 == 0 else b"odd"
        records.append(
            b"<%d@r>" % n, b"u@%s.test" % domain, received_at=1.0, code=250, size=1, mail=n, connection=1, port=1
        )
    assert list(range(7000)) == [r["n"] for r in lines(await web.get("/records"))]
    assert list(range(3990, 4020)) == [r["n"] for r in lines(await web.get("/records?since=3990&limit=30"))]
    assert [r["n"] for r in lines(await web.get("/records?domain=odd.test&limit=3"))] == [1, 3, 5]
    assert [r["n"] for r in lines(await web.get("/records?message_id_prefix=<6999"))] == [6999]
    assert lines(await web.get("/records?since=7000")) == []
    assert lines(await web.get("/records?limit=0")) == []
    assert len(lines(await web.get("/pairs"))) == 7000


@pytest.mark.parametrize("query", ["/records?since=-1", "/records?limit=x", "/messages?limit=1.5", "/records?since=²"])
async def test_a_bad_number_is_422(web: httpx.AsyncClient, query: str) -> None:
    answer = await web.get(query)
    assert answer.status_code == 422
    assert "must be a whole number" in answer.json()["error"]


async def test_messages_are_listed_and_opened(web: httpx.AsyncClient, deliver: Any) -> None:
    await deliver(a_mail(1), to=b"Ann@y.test bob@y.test")
    await deliver(a_mail(2, html="<p>Hallo</p>"), to=b"bob@y.test")
    listed = (await web.get("/messages", params={"to": "ann@Y.test"})).json()
    assert [mail["n"] for mail in listed] == [0]
    mail = listed[0]
    assert ("<1@run1>", "a@x.test", ["Ann@y.test", "bob@y.test"], "Grüße", 250, len(a_mail(1))) == tuple(
        mail[key] for key in ("message_id", "from", "to", "subject", "code", "size")
    )
    assert mail["received_at"] <= mail["answered_at"]
    assert [m["n"] for m in (await web.get("/messages?to=bob@y.test")).json()] == [1, 0]
    assert [m["n"] for m in (await web.get("/messages?limit=1")).json()] == [1]
    opened = (await web.get("/messages/1")).json()
    assert opened["headers"][0] == ["From", "Zoë <z@x.test>"]
    assert (opened["text"].strip(), opened["html"].strip()) == ("Hallo", "<p>Hallo</p>")
    raw = await web.get("/messages/0/raw")
    assert ("message/rfc822", a_mail(1)) == (raw.headers["content-type"], raw.content)


async def test_a_mail_that_is_not_kept_is_404(dial: Any) -> None:
    async with (
        running_sink(keep=0) as sink,
        dial(sink) as client,
        httpx.AsyncClient(base_url=sink.addresses.http, trust_env=False) as web,
    ):
        await client.envelope(b"u@y.test")
        client.say(a_mail(1) + b".\r\n")
        assert await client.codes(1) == [250]
        for path in ("/messages/0", "/messages/0/raw", "/messages/0/html", "/view/0", "/nowhere"):
            answer = await web.get(path)
            assert answer.status_code == 404
            assert answer.json()["error"]


async def test_the_script_is_replaced_or_refused_with_a_reason(
    web: httpx.AsyncClient, deliver: Any, sink: Sink
) -> None:
    assert (await web.get("/script")).json() == {}
    script = {"seed": 5, "personas": [{"domains": ["*"], "rules": [{"stage": "dot", "code": 451}]}]}
    answer = await web.post("/script", json=script)
    assert (200, script) == (answer.status_code, answer.json())
    bad = await web.post("/script", json={"personas": [{"domains": ["*"], "rules": [{"stage": "dot", "code": 200}]}]})
    assert bad.status_code == 422
    assert "$.personas[0].rules[0].code" in bad.json()["error"]
    assert (await web.post("/script", content=b"{nonsense")).status_code == 422
    assert script == (await web.get("/script")).json()
    await deliver(a_mail(1))
    assert sink.store.stats().by_code == {451: 1}


async def test_forgetting_empties_everything(web: httpx.AsyncClient, deliver: Any, sink: Sink) -> None:
    sink.play({"personas": [{"domains": ["y.test"], "rules": [{"stage": "dot", "code": 451, "first_attempts": 1}]}]})
    await deliver(a_mail(1), a_mail(1))
    assert sink.store.stats().by_code == {451: 1, 250: 1}
    assert (await web.delete("/messages")).json() == {"deleted": 2}
    assert (await web.delete("/messages")).json() == {"deleted": 0}
    stats = (await web.get("/stats")).json()
    assert {0} == {value for key, value in stats.items() if isinstance(value, int) and key != "connections_open"}
    assert (stats["by_domain"], stats["by_code"]) == ({}, {})
    assert [lines(await web.get(path)) for path in ("/records", "/pairs")] == [[], []]
    assert (await web.get("/messages")).json() == []
    # The script goes on, with no memory of the attempts before.
    await deliver(a_mail(1))
    assert sink.store.stats().by_code == {451: 1}


async def test_healthz(web: httpx.AsyncClient) -> None:
    assert (await web.get("/healthz")).json() == {"status": "ok"}


async def test_the_pages_show_mails_without_running_them(web: httpx.AsyncClient, deliver: Any) -> None:
    await deliver(a_mail(1, html=f"<p>Hi</p>{EVIL}", subject=EVIL))
    index = await web.get("/")
    assert "&lt;script&gt;" in index.text and "<script" not in index.text
    assert "default-src 'none'" in index.headers["content-security-policy"]
    opened = await web.get("/view/0")
    assert 'sandbox="" src="/messages/0/html"' in opened.text and "<script" not in opened.text
    body = await web.get("/messages/0/html")
    assert EVIL in body.text
    assert "sandbox; default-src 'none'" in body.headers["content-security-policy"]
    assert "u@y.test" in (await web.get("/", params={"to": "u@y.test"})).text
    found = (await web.get("/", params={"to": '"><script>'})).text
    assert "No mail yet." in found and "<script" not in found


async def test_a_mail_without_html_has_no_html_page(web: httpx.AsyncClient, deliver: Any) -> None:
    await deliver(a_mail(1))
    assert (await web.get("/messages/0/html")).status_code == 404
    assert (await web.get("/view/0")).status_code == 200
