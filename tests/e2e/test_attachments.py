"""Attachments through the whole system: the octets at the sink are those of the call, whatever happens on the way."""

import base64
import email
import email.policy
import hashlib
import random
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest

from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

# Other than those of any run before: the tests share a database, which knows what was stored, and not their folders.
OCTETS = random.randbytes(3 * 2**20 + 7)
PICTURE, NOTE = random.randbytes(70), random.randbytes(1)


def some_octets() -> bytes:
    return random.randbytes(1000)


def file(name: str, octets: bytes, **more: str) -> dict[str, str]:
    return {"filename": name, "content": base64.b64encode(octets).decode()} | more


def arrived(system: System, to: str) -> EmailMessage:
    assert system.sink
    (found,) = httpx.get(f"{system.sink.url}/messages", params={"to": to}).json()
    raw = httpx.get(f"{system.sink.url}/messages/{found['n']}/raw").content
    return email.message_from_bytes(raw, policy=email.policy.default)


def test_the_octets_that_arrive_are_those_of_the_call(system: System) -> None:
    system.start_all()
    files = [file("Bericht März.bin", OCTETS), file("logo.png", PICTURE, content_id="logo"), file("note.txt", NOTE)]
    everybody = [f"p{number}@example.test" for number in range(20)]
    body = {"to": everybody, "html": '<img src="cid:logo">', "attachments": files}
    sent = system.send(**body).raise_for_status().json()["id"]
    found = system.settle([system.promise(sent, to) for to in everybody])
    assert found.balanced, str(found)
    for to in everybody[:3]:
        message = arrived(system, to)
        parts = {part.get_filename(): part for part in message.walk() if part.get_filename()}
        assert {name: part.get_payload(decode=True) for name, part in parts.items()} == {
            "Bericht März.bin": OCTETS,
            "logo.png": PICTURE,
            "note.txt": NOTE,
        }
        assert parts["logo.png"]["Content-ID"] == "<logo>"
        assert message.get_body(("plain",)).get_content().strip() == "Hello, you."
    digest = hashlib.sha256(OCTETS).hexdigest()
    log = system.services["sender0"].log.read_text()
    assert digest not in log
    # One fetch for all twenty.
    metrics = httpx.get(system.metrics_url("sender0")).text
    assert 'mailwarren_sender_attachments_total{result="fetched"} 3.0' in metrics


def test_mail_waits_for_an_api_that_is_away_and_loses_no_attempt(system: System) -> None:
    system.start_sink()
    system.start_ingest()
    system.start_tracker()
    octets = some_octets()
    sent = system.send("bob@example.test", attachments=[file("a.bin", octets)]).raise_for_status().json()["id"]
    system.services["ingest"].kill()
    system.start_sender()
    log = system.services["sender"].log
    wait_for(lambda: "sender.attachments.away" in log.read_text(), 20, "the sender to ask for it")
    system.start_ingest()
    found = system.settle([system.promise(sent, "bob@example.test")])
    assert found.balanced, str(found)
    assert not found.doubled
    (row,) = system.query("SELECT state, attempt FROM deliveries WHERE email_id = $1", sent)
    assert (row["state"], row["attempt"]) == ("delivered", 1)
    (part,) = arrived(system, "bob@example.test").iter_attachments()
    assert part.get_payload(decode=True) == octets


def test_an_attachment_that_was_deleted_fails_the_mail_and_says_so(system: System) -> None:
    system.start_sink()
    system.start_ingest()
    system.start_tracker()
    octets = some_octets()
    sent = system.send("bob@example.test", attachments=[file("a.bin", octets)]).raise_for_status().json()["id"]
    digest = hashlib.sha256(octets).hexdigest()
    (system.root / "blobs" / digest[:2] / digest).unlink()
    system.start_sender()
    promises = [system.promise(sent, "bob@example.test")]
    found = system.settle(promises)
    assert set(system.states(promises).values()) == {"failed"}, str(found)
    assert system.api
    reasons = [entry["reason"] for entry in system.api.get(f"/emails/{sent}/timeline").json()["data"]]
    assert "the attachment 'a.bin' was deleted" in reasons


def test_what_a_crashed_api_left_behind_is_deleted_by_retention(system: System) -> None:
    api = system.start_ingest()
    lost, kept = some_octets(), some_octets()

    def post(octets: bytes) -> int:
        body = {"from": "a@sender.test", "to": "b@example.test", "subject": "s", "text": "t"}
        return api.post("/emails", json=body | {"attachments": [file("a", octets)]}).status_code

    # The octets are stored, and then the email cannot be recorded: what is left is as if the process had died there.
    system.query("ALTER TABLE email_attachments RENAME TO hidden")
    try:
        assert post(lost) == 503
    finally:
        system.query("ALTER TABLE hidden RENAME TO email_attachments")
    assert post(kept) == 200
    blobs = system.root / "blobs"
    assert sorted(path.read_bytes() for path in objects(blobs)) == sorted([lost, kept])
    digests = [hashlib.sha256(octets).digest() for octets in (lost, kept)]
    system.query("UPDATE blobs SET last_used_at = now() - interval '2 days' WHERE digest = ANY($1)", digests)
    system.start_worker(env={"MAILWARREN_RETENTION_EVERY": "1"})
    system.start_scheduler(env={"MAILWARREN_RETENTION_EVERY": "1"})
    wait_for(lambda: [path.read_bytes() for path in objects(blobs)] == [kept], 40, "retention")
    left = "SELECT digest FROM blobs WHERE digest = ANY($1)"
    wait_for(lambda: [row["digest"] for row in system.query(left, digests)] == digests[1:], 10, "its row to go")


def objects(blobs: Path) -> list[Path]:
    return [path for path in blobs.rglob("*") if path.is_file()]
