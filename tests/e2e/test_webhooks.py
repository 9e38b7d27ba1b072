"""Webhooks through the whole system: what becomes of mail reaches a receiver, signed, whatever is killed on the way."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import pytest
import svix.webhooks
from resend.webhooks._webhook_event import (
    EmailBouncedEvent,
    EmailDeliveredEvent,
    EmailDeliveryDelayedEvent,
    EmailSentEvent,
    EmailSuppressedEvent,
)
from sdk_shapes import check

from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

TYPES = ["email.sent", "email.delivered", "email.delivery_delayed", "email.bounced", "email.failed", "email.suppressed"]
NOBODY = {"stage": "rcpt", "code": 550, "enhanced": "5.1.1", "text": "no such user"}
LATER = {"stage": "rcpt", "code": 451, "enhanced": "4.7.1", "text": "greylisted", "first_attempts": 1}


class Hook(ThreadingHTTPServer):
    """A tenant's server. It verifies what it gets, and answers ``status``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = Lock()
        self.secret = ""
        self.status = 200
        self.got: dict[str, list[tuple[bytes, dict[str, Any], str]]] = defaultdict(list)
        self.wrong: list[str] = []
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"

    def take(self, headers: dict[str, str], body: bytes) -> int:
        with self.lock:
            try:
                svix.webhooks.Webhook(self.secret).verify(body, headers)
            except svix.webhooks.WebhookVerificationError as error:
                self.wrong.append(str(error))
                return 400
            self.got[headers["webhook-id"]].append((body, json.loads(body), headers.get("traceparent", "")))
            return self.status

    def events(self, kind: str) -> dict[str, dict[str, Any]]:
        """Payloads of a type by the address that they are about."""
        with self.lock:
            found = [tries[0][1] for tries in self.got.values() if tries[0][1]["type"] == kind]
        return {payload["data"]["to"][0]: payload for payload in found}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.take({name.lower(): value for name, value in self.headers.items()}, body)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as made:
        yield made
        made.shutdown()


def subscribe(system: System, hook: Hook) -> str:
    assert system.api
    answer = system.api.post("/webhooks", json={"endpoint": hook.url, "events": TYPES}).raise_for_status().json()
    hook.secret = answer["signing_secret"]
    time.sleep(1.2)  # the tracker looks every second
    return str(answer["id"])


def test_each_thing_that_becomes_of_mail_is_told_in_the_sdks_words(system: System, hook: Hook) -> None:
    system.start_all()
    system.start_webhooks()
    assert system.sink and system.api
    system.sink.play({"domains": ["nobody.test"], "rules": [NOBODY]}, {"domains": ["later.test"], "rules": [LATER]})
    subscribe(system, hook)
    tagged = {"tags": [{"name": "team", "value": "blue"}]}
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    body = {"from": "Ada <ada@sender.test>", "to": "ok@fine.test", "subject": "Hello", "text": "x", **tagged}
    sent = system.api.post("/emails", json=body, headers={"traceparent": trace}).raise_for_status().json()["id"]
    bounced = system.send("gone@nobody.test").json()["id"]
    system.send("slow@later.test")
    wait_for(lambda: "gone@nobody.test" in hook.events("email.bounced"), 30, "the bounce")
    system.send("gone@nobody.test")
    wait_for(lambda: "gone@nobody.test" in hook.events("email.suppressed"), 30, "the suppression")
    wait_for(lambda: {"ok@fine.test", "slow@later.test"} <= set(hook.events("email.delivered")), 30, "deliveries")
    assert hook.wrong == []
    delivered = hook.events("email.delivered")["ok@fine.test"]
    check(delivered, EmailDeliveredEvent)
    assert delivered["data"]["email_id"] == sent
    assert delivered["data"]["tags"] == {"team": "blue"}
    assert delivered["data"]["from"] == "Ada <ada@sender.test>"
    for payload in hook.events("email.sent").values():
        check(payload, EmailSentEvent)
    check(hook.events("email.delivery_delayed")["slow@later.test"], EmailDeliveryDelayedEvent)
    check(hook.events("email.suppressed")["gone@nobody.test"], EmailSuppressedEvent)
    refused = hook.events("email.bounced")["gone@nobody.test"]
    check(refused, EmailBouncedEvent)
    assert refused["data"]["email_id"] == bounced
    assert refused["data"]["bounce"]["diagnosticCode"] == "smtp; 550 5.1.1 no such user"
    traces = {tries[0][2].split("-")[1] for tries in hook.got.values() if tries[0][1]["data"]["email_id"] == sent}
    assert traces == {trace.split("-")[1]}


def test_no_event_is_lost_when_tracker_and_webhooks_are_killed_again_and_again(system: System, hook: Hook) -> None:
    system.start_all()
    # A lease is as long as a try may take, and twenty seconds: what a killed process had in hand waits for its end.
    system.start_webhooks(env={"MAILWARREN_WEBHOOKS_TIMEOUT": "1"})
    webhook = subscribe(system, hook)
    hook.status = 503
    addresses = [f"u{n}@d{n % 40}.test" for n in range(1500)]
    promises = system.send_bulk(addresses)
    for number in range(3):
        wait_for(lambda n=number: len(hook.got) > n * 3, 30, "some tries")
        time.sleep(0.4)
        for name, start in (("tracker", system.start_tracker), ("webhooks", system.start_webhooks)):
            system.services[name].kill()
            start(wait=False)
        system.wait_ready()
    hook.status = 200
    # The leases of those that were killed need not run out for the test.
    system.query("update webhook_deliveries set due_at = now() where claim is not null")
    found = system.settle(promises)
    assert found.balanced, str(found)

    def all_told() -> bool:
        delivered, sent = hook.events("email.delivered"), hook.events("email.sent")
        return len(delivered) == len(sent) == len(addresses)

    wait_for(all_told, 60, "every event", every=0.5)
    assert hook.wrong == []
    rows = system.query("select id::text from webhook_deliveries where endpoint::text = $1", webhook)
    assert {row["id"] for row in rows} == set(hook.got)
    assert len(rows) == 2 * len(addresses), "one id for each event, however often it was tried"
    # The same id is the same event: the same octets on every try.
    assert all(len({body for body, _, _ in tries}) == 1 for tries in hook.got.values())
