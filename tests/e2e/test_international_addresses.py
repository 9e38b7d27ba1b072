"""Addresses beyond ASCII (RFC 6531) through the whole system: to hosts that take them, and to one that does not."""

import email
import email.policy
import re
import unicodedata
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import resend

from mailwarren.devstack.harness.dkim import dkimpy_says, opendkim_says
from mailwarren.devstack.harness.system import System, wait_for
from mailwarren.devstack.ports import free_ports

pytestmark = pytest.mark.e2e

ZONE = """
new.test.      60 IN MX 10 mx.new.test.
mx.new.test.   60 IN A  127.0.0.2
old.test.      60 IN MX 10 mx.old.test.
mx.old.test.   60 IN A  127.0.0.3
"""
LINKS = {"MAILWARREN_PUBLIC_URL": "https://mail.example.org", "MAILWARREN_LINK_KEYS": "secret-of-the-system-under-test"}
DECOMPOSED = unicodedata.normalize("NFD", "Zoë@new.test")


def start(system: System, name_server: Callable[[str], str]) -> dict[str, str]:
    """Everything, with two mail hosts, of which one has no SMTPUTF8; the records of the signing domain."""
    (port,) = free_ports(1)
    sink = system.start_sink("--mx", f"mx.new.test=127.0.0.2:{port}", "--mx", f"mx.old.test=127.0.0.3:{port}")
    sink.play({"hosts": ["mx.old.test"], "leaves_out": ["SMTPUTF8"]})
    direct = {
        "MAILWARREN_SMTP_URL": "",
        "MAILWARREN_RESOLVER": name_server(ZONE),
        "MAILWARREN_MX_PORT": str(port),
        "MAILWARREN_PRIVATE_MX": "true",
    }
    system.start_tracker(wait=False)
    system.start_sender(wait=False, env=direct)
    api = system.start_ingest(**LINKS)
    made = api.post("/domains", json={"name": "sender.test"}).raise_for_status().json()
    system.wait_ready()
    return {one["name"]: one["value"] for one in made["records"] if one["record"] == "DKIM"}


def arrived(system: System, to: str) -> list[bytes]:
    assert system.sink
    found = httpx.get(f"{system.sink.url}/messages", params={"to": to}).json()
    return [httpx.get(f"{system.sink.url}/messages/{one['n']}/raw").content for one in found]


def failed(system: System, ident: str) -> dict[str, Any]:
    """The line of the timeline."""
    assert system.api
    lines: list[dict[str, Any]] = system.api.get(f"/emails/{ident}/timeline").json()["data"]
    (found,) = [one for one in lines if one["kind"] == "failed"]
    return found


def test_they_arrive_as_they_are_or_fail_in_words_and_lists_know_them(
    system: System, name_server: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    records = start(system, name_server)
    assert system.api
    assert system.sink
    monkeypatch.setattr(resend, "api_url", str(system.api.base_url).rstrip("/"))
    monkeypatch.setattr(resend, "api_key", system.token)

    shown = resend.Emails.send({
        "from": "Jörg <jörg@sender.test>", "to": [DECOMPOSED, "用户@new.test"], "cc": "Ada <ada@new.test>",
        "reply_to": "antwort.jörg@sender.test", "subject": "Grüße", "text": "Hello", "html": "<p>Hello",
    })["id"]  # fmt: skip
    header = system.send("ada@old.test", cc="zoë@new.test").raise_for_status().json()["id"]
    plain = system.send("eve@old.test").raise_for_status().json()["id"]
    body = {
        "from": "ada@sender.test", "subject": "News", "text": "Hello",
        "recipients": [{"to": to} for to in (DECOMPOSED, "zoë@old.test", "bob@old.test", "zo\u202eë@new.test")],
    }  # fmt: skip
    bulk = system.api.post("/emails/bulk", json=body).raise_for_status().json()
    assert [one["to"] for one in bulk["data"]] == ["Zoë@new.test", "zoë@old.test", "bob@old.test"]
    assert "RIGHT-TO-LEFT OVERRIDE" in bulk["errors"][0]["message"]

    promises = [system.promise(shown, to) for to in ("Zoë@new.test", "用户@new.test", "ada@new.test")]
    promises += [system.promise(header, "ada@old.test"), system.promise(header, "zoë@new.test")]
    promises += [system.promise(plain, "eve@old.test")]
    promises += [system.promise(one["id"], one["to"]) for one in bulk["data"]]
    found = system.settle(promises)
    assert found.balanced, str(found)
    states = [system.states(promises)[one.email_id, one.address] for one in promises]
    assert states == [
        "delivered", "delivered", "delivered", "failed", "delivered", "delivered", "delivered", "failed", "delivered",
    ]  # fmt: skip

    # What arrived has the address itself in its header, and verifies.
    mails = arrived(system, "Zoë@new.test")
    (mail,) = [one for one in mails if "jörg@".encode() in one]
    (newsletter,) = [one for one in mails if b"\r\nSubject: News\r\n" in one]
    assert "\r\nTo: Zoë@new.test,\r\n 用户@new.test\r\n".encode() in mail
    assert "From: =?utf-8?b?SsO2cmc=?= <jörg@sender.test>".encode() in mail
    assert arrived(system, "ada@new.test"), "its header needs SMTPUTF8, and its host has it"
    assert dkimpy_says(mail, records) == [True]
    assert opendkim_says(mail, records)
    assert all(one.isascii() for to in ("eve@old.test", "bob@old.test") for one in arrived(system, to))
    assert system.sink.stats()["protocol_errors"] == {}

    # Who did not get it, and why, is told as of any mail.
    for ident, code in ((bulk["data"][1]["id"], "5.6.7"), (header, "5.6.9")):
        told = failed(system, ident)
        assert told["reply"]["bounce_class"] == "no_smtputf8"
        assert told["reply"]["trouble"].startswith(f"{code} ")
        assert "SMTPUTF8 (RFC 6531), which the server does not offer" in told["reply"]["trouble"]
    assert system.query("select 1 from suppressions") == []

    # Who leaves has left, in either form of the letter.
    message = email.message_from_bytes(newsletter, policy=email.policy.default)
    link = re.fullmatch(r"<(https://mail\.example\.org/u/[A-Za-z0-9_-]+)>", message["List-Unsubscribe"])
    assert link
    place = system.api.base_url.copy_with(path=urlsplit(link[1]).path)
    assert httpx.post(place, data={"List-Unsubscribe": "One-Click"}).status_code == 200
    again = system.api.post("/emails/bulk", json=body | {"recipients": [{"to": "zoë@new.test"}]}).json()["data"][0]
    wait_for(lambda: "suppressed" in system.states([system.promise(again["id"], "zoë@new.test")]).values(), 20, "it")
    listed = system.api.get("/emails", params={"to": DECOMPOSED.upper()})
    assert listed.json()["data"] == [], "letters beyond ASCII keep their case"
    ids = {one["id"] for one in system.api.get("/emails", params={"to": DECOMPOSED}).json()["data"]}
    assert ids == {shown, header, bulk["data"][0]["id"], again["id"]}
