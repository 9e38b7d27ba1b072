"""Attachments through the whole system: the octets at the sink are those of the call, whatever happens on the way."""

import base64
import email
import email.policy
import hashlib
import random
from email.message import EmailMessage
from pathlib import Path

import pytest

from mailwarren.devstack.harness.counts import Promise
from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

# Other than those of any run before: the tests share a database, which knows what was stored, and not their folders.
OCTETS = random.randbytes(3 * 2**20 + 7)
PICTURE, NOTE = random.randbytes(70), random.randbytes(1)


def some_octets() -> bytes:
    return random.randbytes(1000)


def file(name: str, octets: bytes, **more: str) -> dict[str, str]:
    return {"filename": name, "content": base64.b64encode(octets).decode()} | more


@pytest.fixture(scope="module")
def whole(module_system: System) -> System:
    """Everything runs; retention every second."""
    module_system.start_all()
    module_system.start_worker(env={"MAILWARREN_RETENTION_EVERY": "1"}, wait=False)
    module_system.start_scheduler(env={"MAILWARREN_RETENTION_EVERY": "1"}, wait=False)
    module_system.wait_ready()
    return module_system


def arrived(system: System, to: str) -> EmailMessage:
    assert system.sink
    (found,) = system.sink.messages(to=to)
    return email.message_from_bytes(system.sink.raw(found["n"]), policy=email.policy.default)


def test_the_octets_that_arrive_are_those_of_the_call(whole: System) -> None:
    system = whole
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
    metrics = system.metrics("sender0")
    assert 'mailwarren_sender_attachments_total{result="fetched"} 3.0' in metrics


def test_a_scheduled_mail_with_a_template_arrives_with_its_files(whole: System) -> None:
    octets, api = some_octets(), whole.api
    assert api
    assert whole.sink
    whole.sink.forget()
    variable = {"key": "NAME", "type": "string"}
    template = {"name": "n", "html": "<p>Dear {{{NAME}}}</p>", "variables": [variable]}
    ident = api.post("/templates", json=template).raise_for_status().json()["id"]
    api.post(f"/templates/{ident}/publish").raise_for_status()
    to = f"{octets[:6].hex()}@example.test"
    body = {
        "from": "a@sender.test", "to": to, "subject": "x", "scheduled_at": "in 1 second",
        "template": {"id": ident, "variables": {"NAME": "Bob"}}, "attachments": [file("a.bin", octets)],
    }  # fmt: skip
    sent = api.post("/emails", json=body).raise_for_status().json()["id"]
    found = whole.settle([whole.promise(sent, to)])
    assert found.balanced, str(found)
    message = arrived(whole, to)
    assert "Dear Bob" in message.get_body(("html",)).get_content()
    (part,) = message.iter_attachments()
    assert part.get_payload(decode=True) == octets


def test_mail_waits_for_an_api_that_is_away_and_loses_no_attempt(whole: System) -> None:
    octets = some_octets()
    promise = send_while_no_sender_runs(whole, octets)
    whole.services["ingest"].kill()
    sender = whole.start_sender("sender1", wait=False)
    wait_for(lambda: "sender.attachments.away" in sender.log.read_text(), 30, "the sender to ask for it")
    whole.start_ingest()
    found = whole.settle([promise])
    assert found.balanced, str(found)
    assert not found.doubled
    (row,) = whole.query("SELECT state, attempt FROM deliveries WHERE email_id = $1", promise.email_id)
    assert (row["state"], row["attempt"]) == ("delivered", 1)
    (part,) = arrived(whole, promise.address).iter_attachments()
    assert part.get_payload(decode=True) == octets


def test_an_attachment_that_was_deleted_fails_the_mail_and_says_so(whole: System) -> None:
    octets = some_octets()
    promise = send_while_no_sender_runs(whole, octets)
    digest = hashlib.sha256(octets).hexdigest()
    (whole.root / "blobs" / digest[:2] / digest).unlink()
    whole.start_sender("sender2", wait=False)
    found = whole.settle([promise])
    assert set(whole.states([promise]).values()) == {"failed"}, str(found)
    assert whole.api
    reasons = [entry["reason"] for entry in whole.api.get(f"/emails/{promise.email_id}/timeline").json()["data"]]
    assert "the attachment 'a.bin' was deleted" in reasons


def test_what_a_crashed_api_left_behind_is_deleted_by_retention(whole: System) -> None:
    lost, kept = some_octets(), some_octets()
    # The octets are stored, and then the email cannot be recorded: what is left is as if the process had died there.
    whole.query("ALTER TABLE email_attachments RENAME TO hidden")
    try:
        assert whole.send("bob@example.test", attachments=[file("a", lost)]).status_code == 503
    finally:
        whole.query("ALTER TABLE hidden RENAME TO email_attachments")
    whole.send("bob@example.test", attachments=[file("a", kept)]).raise_for_status()
    blobs = whole.root / "blobs"
    assert {lost, kept} <= objects(blobs)
    digests = [hashlib.sha256(octets).digest() for octets in (lost, kept)]
    whole.query("UPDATE blobs SET last_used_at = now() - interval '2 days' WHERE digest = ANY($1)", digests)
    wait_for(lambda: lost not in objects(blobs), 40, "retention")
    left = "SELECT digest FROM blobs WHERE digest = ANY($1)"
    wait_for(lambda: [row["digest"] for row in whole.query(left, digests)] == digests[1:], 10, "its row to go")
    assert kept in objects(blobs)


def send_while_no_sender_runs(system: System, octets: bytes) -> Promise:
    for name, service in system.services.items():
        if name.startswith("sender") and service.alive:
            service.stop()
    assert system.sink
    system.sink.forget()
    to = f"{octets[:6].hex()}@example.test"
    return system.promise(system.send(to, attachments=[file("a.bin", octets)]).raise_for_status().json()["id"], to)


def objects(blobs: Path) -> set[bytes]:
    return {path.read_bytes() for path in blobs.rglob("*") if path.is_file()}
