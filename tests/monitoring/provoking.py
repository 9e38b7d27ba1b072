"""What the panels show, provoked: mail of every lane, servers with troubles, readers, and parts that are away."""

import email
import email.policy
import re
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

import direct_fleet
import httpx
from watched import Stage

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.harness.system import System, wait_for

LATER = {"stage": "rcpt", "code": 451, "enhanced": "4.7.1", "text": "greylisted", "first_attempts": 1}
NEVER = {"stage": "rcpt", "code": 451, "enhanced": "4.3.0", "text": "not now"}
NOBODY = {"stage": "rcpt", "code": 550, "enhanced": "5.1.1", "text": "no such user"}
STRANGE = {"stage": "dot", "code": 569, "text": "we do not say"}
PERSONAS: tuple[dict[str, Any], ...] = (
    {"domains": ["later.test"], "rules": [LATER]},
    {"domains": ["never.test"], "rules": [NEVER]},
    {"domains": ["nobody.test"], "rules": [NOBODY]},
    {"domains": ["strange.test"], "rules": [STRANGE]},
    {"domains": ["dropped.test"], "drop_mid_data": 0.5},
    {"domains": ["slow.test"], "dot_latency_ms": 2500},
    *direct_fleet.PERSONAS,
)
IMPATIENT = {
    "MAILWARREN_PREFETCH": "5",
    "MAILWARREN_CONNECTIONS": "10",
    "MAILWARREN_SETTLE_TIMEOUT": "1",
    "MAILWARREN_SETTLE_PATIENCE": "1",
    "MAILWARREN_SETTLE_PATIENCE_HIGH": "1",
}
BUSY = {"MAILWARREN_HEARTBEAT_EVERY": "1", "MAILWARREN_RETENTION_EVERY": "1"}
"""Work that nobody waits for, all the time."""
SMALL = {"MAILWARREN_MAX_DEPTH": "20", "MAILWARREN_DEPTH_INTERVAL": "0.3"}
"""Queues are full with little in them, and whoever publishes sees it at once."""
NOWHERE = "smtp://127.0.0.1:1"
LINKS = {"MAILWARREN_PUBLIC_URL": "https://links.test", "MAILWARREN_LINK_KEYS": "secret-of-the-dashboards"}
TRACKED = {"html": '<p><a href="https://shop.test/">Shop</a></p>', "open_tracking": True, "click_tracking": True}
READER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/130.0.0.0 Safari/537.36", "accept": "text/html"}
SCANNER = READER | {"user-agent": "scanner-bot/1.0"}
SIGNED: dict[str, Any] = {"from": "Ada <ada@signed.test>"}


def start_services(system: System, resolver: str) -> None:
    """Everything at once, with small marks and little patience."""
    system.start_sink(*direct_fleet.sink_arguments()).play(*PERSONAS)
    system.start_ingest(wait=False, **SMALL, **LINKS)
    system.start_tracker(wait=False, env={"MAILWARREN_TRACKER_PREFETCH": "2"})
    for name in ("sender0", "sender1"):
        system.start_sender(name, shards=direct_fleet.OTHERS, env=IMPATIENT, wait=False)
    # A fleet of its own, whose relay is not there.
    lost = IMPATIENT | {"MAILWARREN_SMTP_URL": NOWHERE}
    system.start_sender("lost", [Lane.BULK], shards=direct_fleet.OTHERS, env=lost, wait=False)
    direct_fleet.start_direct(system, resolver, IMPATIENT)
    system.start_worker(wait=False, env=SMALL | LINKS)
    system.start_scheduler(wait=False, env=BUSY | SMALL | LINKS)
    system.start_webhooks(wait=False)


def play(stage: Stage) -> None:
    """Has everything happen that the panels show; what is counted happens more than once, or it has no rate."""
    system = stage.system
    # Higher than anything that is sent here: it is in force, and nobody feels it.
    limit = {"scope": "site", "name": "smarthost", "rate": 100_000, "for": "1h"}
    stage.api.post("/shaping", json=limit).raise_for_status()
    stage.api.post("/domains", json={"name": "signed.test"}).raise_for_status()
    stage.api.post("/suppressions", json={"email": "suppressed@d1.test"}).raise_for_status()
    other_tenants_bounce(system)
    track(stage)
    send_a_round(stage, 1)
    import_people(stage)
    stage.comes("mailwarren_ops_import_rows_total")
    stage.comes("mailwarren_ops_privacy_ended_total")
    fill_a_queue(stage)
    send_a_round(stage, 2)
    system.send_bulk([f"slow{n}@slow.test" for n in range(60)], lane=Lane.NORMAL)
    slow_mail_is_under_way(stage)
    stage.kill("sender1")
    send_a_round(stage, 3)
    lose_the_database(stage)
    hold_the_broker(stage)
    send_a_round(stage, 4)
    stage.shows("mailwarren_tracker_deliveries_open", 35)
    stage.shows("mailwarren_tracker_breakers", 35)
    stage.kill("sender0")
    alone = 'count(rabbitmq_detailed_queue_consumers{queue=~"send[.].*"} == 0)'
    wait_for(lambda: stage.number(alone) > 0, 20, "queues without a consumer", every=0.5)
    stage.seen()


def other_tenants_bounce(system: System) -> None:
    """Of two tenants that are not here the ledger says so much that one is warned, and one paused."""
    for bounced in (60, 200):
        system.query(
            "INSERT INTO email_metrics (tenant, quarter, domain, delivered, bounced_permanent)"
            " VALUES (gen_random_uuid(), date_trunc('hour', now()), 'others.test', 1000, $1)",
            bounced,
        )


def fill_a_queue(stage: Stage) -> None:
    """Mail for one shard while the senders stand still, until the API says 503; twice.

    The worker stands still as well, so that an import, a broadcast and requests for privacy wait for it; then the
    broadcast waits for room.
    """
    stage.hold("sender0", "sender1", "worker")
    write_to_lists(stage)
    lose_keys(stage)
    # More than workers have in hand at once: the last one is late.
    for number in range(3):
        export(stage, f"waits{number}@lists.test")
    for number in range(2):
        wait_for(lambda: stage.system.send("x@full.test").status_code == 503, 20, "a full queue", every=0)
        # One has its time while its queue is full, the other is released.
        stage.system.send(f"later{number}@full.test", scheduled_at="in 1 second").raise_for_status()
        stage.system.send(f"later{number}@d1.test", scheduled_at="in 1 second").raise_for_status()
        stage.seen()
    stage.shows('rabbitmq_detailed_queue_messages_ready{queue=~"send[.].*"}')  # counted every five seconds
    for gauge in ('imports{state="queued"}', 'broadcasts{state="queued"}', "scheduled_late_seconds"):
        stage.shows(f"mailwarren_ops_{gauge}")
    stage.shows("mailwarren_ops_privacy_late_seconds")
    stage.resume("worker")
    stage.comes("mailwarren_ops_broadcast_waits_total")
    waits = stage.number("sum(mailwarren_ops_broadcast_waits_total)")
    send_broadcast(stage)
    stage.comes("mailwarren_ops_broadcast_waits_total", round(waits) + 1)
    stage.resume("sender0", "sender1")
    stage.comes("mailwarren_ops_broadcast_recipients_total", 2)  # the second one's come after a scrape


def export(stage: Stage, address: str) -> None:
    """All that is stored of an address."""
    stage.api.post("/privacy/requests", json={"type": "export", "email": address}).raise_for_status()


def lose_keys(stage: Stage) -> None:
    """Mail of a domain that is deleted before a sender asks for its keys."""
    made = stage.api.post("/domains", json={"name": "gone.test"}).raise_for_status().json()["id"]
    stage.system.send_bulk(["nokeys@d1.test"], **SIGNED | {"from": "ada@gone.test"})
    stage.api.delete(f"/domains/{made}").raise_for_status()


def write_to_lists(stage: Stage) -> None:
    """An import, a broadcast, and mail for another month."""
    import_people(stage)
    send_broadcast(stage)
    stage.system.send("month@d1.test", scheduled_at="in 30 days").raise_for_status()


def import_people(stage: Stage) -> None:
    """With a row that fails, and an address that comes twice."""
    file = b"email\nada@lists.test\nADA@lists.test\nnobody\n"
    call = {"content": file, "headers": {"Content-Type": "text/csv"}}
    stage.api.post("/contacts/imports", **call).raise_for_status()


def send_broadcast(stage: Stage) -> None:
    """To a shard that will be full."""

    def post(path: str, **body: Any) -> Any:
        return stage.api.post(path, json=body).raise_for_status().json()["id"]

    segment = post("/segments", name="Readers")
    post("/contacts", email="reader@full.test", segments=[{"id": segment}])
    mail = {"from": "a@sender.test", "subject": "x", "text": "y", "priority": "normal"}
    post("/broadcasts", segment_id=segment, send=True, **mail)


def track(stage: Stage) -> None:
    """A mail with a pixel and a link, of which :func:`read` knows."""
    stage.system.send("reader@d1.test", **TRACKED).raise_for_status()
    sink = stage.system.sink
    assert sink

    def arrived() -> list[Any]:
        found: list[Any] = httpx.get(f"{sink.url}/messages", params={"to": "reader@d1.test"}).json()
        return found

    wait_for(lambda: bool(arrived()), 25, "the tracked mail", every=0.1)
    raw = httpx.get(f"{sink.url}/messages/{arrived()[0]['n']}/raw").content
    part = email.message_from_bytes(raw, policy=email.policy.default).get_body(("html",))
    assert part is not None
    stage.links = re.findall(rf'"{LINKS["MAILWARREN_PUBLIC_URL"]}(/t/[^"]+)"', str(part.get_content()))
    assert len(stage.links) == 2


def read(stage: Stage) -> None:
    """A reader and a scanner fetch all of it; somebody follows a link to unsubscribe that is none."""
    root = stage.api.base_url.copy_with(path="/")
    for link in stage.links:
        for headers in (READER, SCANNER):
            assert httpx.get(root.join(urlsplit(link).path), headers=headers).status_code < 400
    assert httpx.get(root.join("/u/nothing")).status_code == 404


class Receiver(BaseHTTPRequestHandler):
    """A tenant's server: what it answers stands in the path."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(int(self.path.strip("/")))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def add_webhooks(stage: Stage, *statuses: int) -> None:
    """One for each answer; 0 is nobody there."""
    types = ["email.sent", "email.delivered", "email.bounced"]
    for status in statuses:
        endpoint = f"{stage.receiver}/{status}" if status else "http://127.0.0.1:1/"
        body = {"endpoint": endpoint, "events": types}
        stage.api.post("/webhooks", json=body).raise_for_status()
    time.sleep(1)  # in which the tracker hears of them
    stage.seen()  # what has not happened yet


def send_a_round(stage: Stage, number: int) -> None:
    """Mail of all kinds, to servers of all kinds, and calls of all kinds."""
    system = stage.system
    if number < 3:  # each 410 ends a webhook
        add_webhooks(stage, *((200, 0, 410) if number == 1 else (410,)))
    for lane in Lane:
        fine = [f"r{number}n{n}@d{n}.test" for n in range(12)]
        refused = [f"{lane}{number}@{domain}.test" for domain in ("later", "nobody", "strange")]
        system.send_bulk([*fine, *refused, *(f"{lane}{number}{n}@dropped.test" for n in range(4))], lane=lane)
    system.send_bulk([f"signed{number}{n}@d{n}.test" for n in range(5)], **SIGNED)
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    system.send_bulk([f"late{number}@never.test"], lane=Lane.HIGH, expires_at=soon)
    system.send_bulk([f"wait{number}{n}@never.test" for n in range(5)], lane=Lane.BULK)
    system.send(f"bulk{number - 1}@nobody.test")  # bounced in the round before
    system.send("suppressed@d1.test").raise_for_status()
    for _ in range(2):
        stage.api.post("/emails/bulk", json={"from": "nobody"})
        body = {"from": "a@sender.test", "to": f"k{number}@d1.test", "subject": "x", "text": "y"}
        stage.api.post("/emails", json=body, headers={"Idempotency-Key": f"round {number}"})
    stage.throw("", "send.bulk.h0")
    stage.throw("", "tracker.events.3")
    stage.throw("mail.send", "no.such.key")
    stage.throw("", "ops.tasks")
    direct_fleet.send_direct(system, number)
    for text in ("the same", f"of round {number}"):
        file = {"filename": "a.txt", "content": b64encode(text.encode()).decode()}
        system.send(f"file{number}@d1.test", attachments=[file]).raise_for_status()
    read(stage)
    export(stage, f"round{number}@lists.test")
    system.query("UPDATE idempotency_keys SET created_at = now() - interval '2 days'")
    system.query("UPDATE api_logs SET created_at = now() - interval '30 days'")
    stage.seen()


def lose_the_database(stage: Stage) -> None:
    """Postgres is away: mail flows on, batches are tried again, results wait, and patience ends."""
    stage.system.send_bulk([f"away{n}@later.test" for n in range(5)], lane=Lane.HIGH)
    stage.postgres.stop()
    for number in range(5):
        stage.system.send_bulk([f"more{number}{n}@later.test" for n in range(5)], lane=Lane.HIGH)
        stage.system.send(f"unchecked{number}@d2.test")
        time.sleep(1.3)
    stage.postgres.start()


def slow_mail_is_under_way(stage: Stage) -> None:
    sink = stage.system.sink
    assert sink
    wait_for(lambda: sink.stats()["pending"] >= 5, 15, "slow mail under way")


def hold_the_broker(stage: Stage) -> None:
    """RabbitMQ stands still with mail under way: outcomes wait for their confirms, and so do the API and its hits."""
    slow = [f"held{n}@slow.test" for n in range(10)]
    stage.system.send_bulk([f"held{n}@d{n}.test" for n in range(100)] + slow)
    stage.system.send_bulk(slow, lane=Lane.HIGH)
    slow_mail_is_under_way(stage)
    stage.hold_broker()
    try:
        read(stage)
        with ThreadPoolExecutor() as pool:
            answers = [pool.submit(stage.system.send, "unconfirmed@d1.test")]
            pool.submit(stage.api.post, "/suppressions", json={"email": "untold@d1.test"})
            stage.seen()  # two, and apart: the first one of a kind makes no rate
            answers.append(pool.submit(stage.system.send, "unconfirmed@d2.test"))
        assert [answer.result().status_code for answer in answers] == [503, 503]
        stage.shows("mailwarren_ingest_hits_waiting")
        stage.shows("mailwarren_ingest_suppressions_untold_total")
    finally:
        stage.resume_broker()
