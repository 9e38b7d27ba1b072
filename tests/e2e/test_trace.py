"""One mail's trace through API, queue, sender and tracker, over a retry and the settling before it."""

import json
import time
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from mailwarren.devstack.harness.receiver import Receiver
from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
LATER = {
    "domains": ["later.test"],
    "rules": [{"stage": "rcpt", "code": 451, "enhanced": "4.3.0", "text": "not now", "first_attempts": 1}],
}


def send(system: System, to: str, **headers: str) -> tuple[str, str]:
    """A mail; its id and the trace that the answer names."""
    assert system.api
    body = {"from": "Ada <ada@sender.test>", "to": to, "subject": "Yours alone", "text": "Yours alone."}
    answer = system.api.post("/emails", json={**body, "priority": "high"}, headers=headers).raise_for_status()
    return answer.json()["id"], answer.headers["traceresponse"].split("-")[1]


def follow(system: System, trace: str) -> list[tuple[str, str, Any]]:
    """Service, event and kind of every line of a trace, in the order of their times."""
    lines = [
        line
        for service in system.services.values()
        for text in service.log.read_text().splitlines()
        if text.startswith("{") and (line := json.loads(text)).get("trace_id") == trace
    ]
    lines.sort(key=lambda line: line["timestamp"])
    return [(line["service"], line["event"], line.get("kind")) for line in lines]


def test_a_trace_id_finds_a_mail_in_the_logs_of_all_services(system: System) -> None:
    system.env["MAILWARREN_LOG_LEVEL"] = "DEBUG"
    system.start_all(senders=1)
    assert system.sink
    system.sink.play(LATER)
    deferred, trace = send(system, "bob@later.test", **GIVEN)
    assert trace == TRACE
    other, own = send(system, "eve@now.test")
    assert (len(own), own != TRACE) == (32, True)
    promises = [system.promise(deferred, "bob@later.test"), system.promise(other, "eve@now.test")]
    assert system.settle(promises, timeout=30).balanced
    wait_for(lambda: ("tracker", "tracker.event.recorded", "delivered") in follow(system, TRACE), 5, "the last line")

    found = follow(system, TRACE)
    assert [one for one in found if one[0] == "ingest"] == [("ingest", "ingest.email.answered", None)]
    assert [kind for service, event, kind in found if event == "sender.attempt.ended"] == ["deferred", "delivered"]
    # Before the second attempt the sender asks what became of the first.
    assert found.count(("tracker", "tracker.question.answered", None)) == 1
    recorded = [kind for service, event, kind in found if event == "tracker.event.recorded"]
    assert recorded == ["deferred", "delivered"]
    assert ("tracker", "tracker.parcel.recorded", None) in found

    assert system.api
    for email, its in ((deferred, TRACE), (other, own)):
        assert system.api.get(f"/emails/{email}/timeline").json()["trace_id"] == its

    kinds = [kind for _, event, kind in follow(system, own) if event == "tracker.event.recorded"]
    assert kinds == ["delivered"]
    for name, service in system.services.items():
        if name != "sink":
            log = service.log.read_text()
            assert [word for word in ("later.test", "now.test", "ours alone", "ada@") if word in log] == [], name


def test_spans_of_ingest_sender_and_tracker_make_one_trace(system: System) -> None:
    with Receiver() as collector:
        system.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{collector.port}"
        system.env["OTEL_BSP_SCHEDULE_DELAY"] = "200"
        system.start_all(senders=1)
        assert system.sink
        system.sink.play(LATER)
        ident, trace = send(system, "bob@later.test", **GIVEN)
        assert system.settle([system.promise(ident, "bob@later.test")], timeout=30).balanced
        wait_for(lambda: len(spans_of(collector, trace)) >= 9, 10, "the spans")
        time.sleep(0.5)
        spans = spans_of(collector, trace)
        raw = b"".join(one.body for one in collector.posted)

    assert {one.path for one in collector.posted} == {"/v1/traces"}
    by_id = {span.span_id.hex(): (service, span) for service, span in spans}
    assert len(by_id) == len(spans) == 9

    def line(span: Span) -> list[str]:
        """From a span up to the caller's."""
        up = []
        at = span.span_id.hex()
        while at in by_id:
            service, one = by_id[at]
            up.append(f"{service}: {one.name}")
            at = one.parent_span_id.hex()
        return [*up, at]

    lines = {tuple(line(span)) for _, span in spans}
    ingest = ("mailwarren-ingest: mail.accept publish", "mailwarren-ingest: POST /v1/emails", CALLER)
    first = ("mailwarren-sender: mail.send process", *ingest)
    second = ("mailwarren-sender: mail.send process", *first)
    assert lines == {
        ingest[1:],
        ingest,
        ("mailwarren-tracker: tracker record", *ingest),
        first,
        ("mailwarren-sender: smtp attempt", *first),
        ("mailwarren-tracker: tracker record", *first),
        second,
        ("mailwarren-sender: smtp attempt", *second),
        ("mailwarren-tracker: tracker record", "mailwarren-sender: smtp attempt", *second),
    }
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for _, span in spans)
    for secret in (b"later.test", b"ours alone", system.token.encode(), b"sender.test"):
        assert secret not in raw


def spans_of(collector: Receiver, trace: str) -> list[tuple[str, Span]]:
    """Service and span of everything in a trace."""
    found = []
    for posted in list(collector.posted):
        for resource in ExportTraceServiceRequest.FromString(posted.body).resource_spans:
            named = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                found += [(named["service.name"], span) for span in scope.spans if span.trace_id.hex() == trace]
    return found
