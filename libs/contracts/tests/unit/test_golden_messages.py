"""What crosses a queue, byte for byte: ``golden/README.md``."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from mailwarren.contracts import codec
from mailwarren.contracts.egress import EgressState, PoolRoute, Reservation, Warming
from mailwarren.contracts.events import Cancel, CancelBroadcast, Event, Kind, Marker, Outcomes, Suppress
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.order import Order, Work
from mailwarren.contracts.parcel import (
    SHAPED_WAIT,
    Attachment,
    Attempt,
    Content,
    Delivery,
    Mark,
    OnUnknown,
    Parcel,
    Role,
    Setback,
    Syntax,
    Wait,
)
from mailwarren.contracts.reply import Command, Reply
from mailwarren.contracts.settle import Answer, Question, Verdict
from mailwarren.contracts.shaping import (
    Heartbeat,
    Keeper,
    MissingKeys,
    Override,
    OverrideEnd,
    Scope,
    Sighting,
    SiteState,
    SlotPlan,
    Token,
)
from mailwarren.contracts.tls import TlsNeed, TlsPolicy, TlsSession
from mailwarren.contracts.tracking import Flag, Hit, HitKind, Hits, Tracking
from mailwarren.contracts.unsubscribe import Unsubscribe

GOLDEN = Path(__file__).parent / "golden"

TENANT = UUID("018f0000-0000-7000-8000-000000000001")
EMAIL = UUID("019b0000-0000-7000-8000-00000000000a")
OTHER_EMAIL = UUID("019b0000-0000-7000-8000-00000000000b")
PARCEL = UUID("019b0000-0000-7000-8000-00000000000c")
REQUEST = UUID("019b0000-0000-7000-8000-00000000000d")
BOB = UUID("5b6f6c0e-0000-5000-8000-000000000001")
EVE = UUID("5b6f6c0e-0000-5000-8000-000000000002")
ASKER = UUID("019b0000-0000-7000-8000-00000000000e")
QUESTION = UUID("019b0000-0000-7000-8000-00000000000f")

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

GREYLISTED = Attempt(
    number=1,
    at=1_764_000_010.5,
    reply=Reply(451, "4.7.1 Greylisted, try again", "4.7.1", Command.RCPT),
    bounce_class="greylisted",
    site="example.test",
    host="mx1.example.test:25",
    duration=0.125,
)
NO_ROUTE = Attempt(number=2, at=1_764_000_310.0, trouble="connection refused", site="example.test")

SIGNATURE = "mw1:1764000010:c2lnbmF0dXJl mw1e:1764000010:YW5vdGhlcg=="


def a_single() -> Parcel:
    """The least that a parcel says: a post of one mail."""
    return Parcel(
        id=PARCEL,
        tenant=TENANT,
        lane=Lane.HIGH,
        shard="google",
        partition=0,
        content=Content(sender="ada@sender.test", subject="Your code", text="123456", to=("bob@gmail.com",)),
        deliveries=(Delivery(id=BOB, email_id=EMAIL, to="bob@gmail.com", message_id="a1@sender.test"),),
        accepted_at=1_764_000_000.0,
    )


def a_bulk() -> Parcel:
    """Everything that a parcel can say at acceptance."""
    return Parcel(
        id=PARCEL,
        tenant=TENANT,
        lane=Lane.BULK,
        shard="h7",
        partition=15,
        content=Content(
            sender="Ådá <ada@sender.test>",
            subject="Grüße, {{{NAME|Freund}}}",
            html="<p>Hi {{ name }}</p>",
            text="Hi {{ name }}",
            cc=("carol@example.test",),
            bcc=("dave@example.test",),
            reply_to=("help@sender.test",),
            headers={"X-Campaign": "spring"},
            tags=(Mark("campaign", "spring"), Mark("test")),
            syntax=Syntax.TEMPLATE,
        ),
        deliveries=(
            Delivery(
                id=BOB,
                email_id=EMAIL,
                to="bob@example.test",
                message_id="a1@sender.test",
                mailbox="Bob <bob@example.test>",
                variables={"name": "Боб", "items": [{"price": 1.5, "n": 2}], "vip": True, "none": None},
                metadata={"customer": "17"},
            ),
            Delivery(
                id=EVE,
                email_id=OTHER_EMAIL,
                to="eve@example.test",
                message_id="a2@sender.test",
                role=Role.BCC,
                suppressed=True,
            ),
        ),
        accepted_at=1_764_000_000.25,
        request_id=REQUEST,
        expires_at=1_764_172_800.0,
        on_unknown=OnUnknown.HOLD,
        settle=True,
    )


def a_deferred() -> Parcel:
    """On the ladder after its first attempt, as the tracker reads it too."""
    parcel = a_single()
    delivery = msgspec.structs.replace(parcel.deliveries[0], last=GREYLISTED)
    return msgspec.structs.replace(
        parcel, deliveries=(delivery,), attempt=2, not_before=1_764_000_330.5, wait=Wait.DEFERRED
    )


def a_suspect() -> Parcel:
    """A mail that senders died of."""
    split = Setback(1_764_000_100.0, "sender-bulk-0:1", "the broker gave it to 3 senders")
    begun = Setback(1_764_000_110.5, "sender-bulk-1:1", "began it")
    return msgspec.structs.replace(
        a_single(), wait=Wait.HOP, settle=True, returned=4, begun=1, setbacks=(split, begun), not_before=1_764_000_750.0
    )


def an_unsettled() -> Parcel:
    """On the ladder because the tracker did not answer."""
    return msgspec.structs.replace(
        a_single(), attempt=2, wait=Wait.UNSETTLED, turn=3, asked_at=1_764_000_400.0, on_unknown=OnUnknown.FAIL
    )


def a_shaped() -> Parcel:
    """On the ladder because of its site's limits: a hop to the release before."""
    return msgspec.structs.replace(a_deferred(), wait=SHAPED_WAIT, shaped=2, turn=2)


def a_shaped_one_to_come() -> Parcel:
    """The same as a later release may write it."""
    return msgspec.structs.replace(a_shaped(), wait=Wait.SHAPED)


def a_heartbeat() -> Heartbeat:
    """Everything that a sender tells of itself."""
    return Heartbeat(
        sender=ASKER,
        host="sender-bulk-0",
        fleet="bulk",
        version="1.2.0",
        started_at=1_764_000_000.0,
        at=1_764_000_002.5,
        queues=("send.bulk.google", "send.bulk.h0"),
        in_flight=120,
        limit=500,
        waiting=37,
        mails_10s=4210,
        leaving=True,
        sites=(SiteState("google", open=3, busy=2, waiting=30, slots=3, rate_10s=42.5), SiteState("d.test", waiting=7)),
    )


def a_heartbeat_without_keys() -> Heartbeat:
    """Mail of a domain waits for its keys."""
    missing = MissingKeys(TENANT, "sender.test", 1_764_000_000.5, "ingest answered 503")
    return msgspec.structs.replace(a_heartbeat(), leaving=False, missing_keys=(missing,))


def a_traced() -> Parcel:
    """Of a call whose trace is known, as they all are since there are traces."""
    return msgspec.structs.replace(a_single(), trace=TRACE)


def a_scheduled() -> Parcel:
    """Asked for a day before it was accepted, and asked about before it is sent."""
    return msgspec.structs.replace(a_single(), settle=True, created_at=1_763_913_600.0)


def a_broadcast() -> Parcel:
    """A part of a broadcast: a cancel of that is one of it."""
    return msgspec.structs.replace(a_single(), settle=True, request_id=REQUEST, broadcast=REQUEST)


def a_signed() -> Parcel:
    """To be signed, with an envelope sender of its own. Only parcels with such needs are of version 2."""
    single = a_single()
    content = msgspec.structs.replace(single.content, signing="sender.test", envelope_sender="bounces@send.sender.test")
    return msgspec.structs.replace(single, content=content)


def a_signed_again() -> Parcel:
    """On the ladder because its keys could not be had, with the signature of an attempt before."""
    signed = a_signed()
    delivery = msgspec.structs.replace(signed.deliveries[0], last=GREYLISTED, signature=SIGNATURE)
    return msgspec.structs.replace(
        signed,
        deliveries=(delivery,),
        attempt=2,
        settle=True,
        turn=1,
        not_before=1_764_000_350.5,
        wait=Wait.KEYS,
    )


def a_listed() -> Parcel:
    """About a topic, with links to leave it."""
    links = Unsubscribe(REQUEST, "https://mail.example.org/u/", bytes((1, 2, 3, 4)), bytes((5, 6, 7, 8)))
    return msgspec.structs.replace(a_single(), unsubscribe=links)


def a_tracked() -> Parcel:
    """With what makes the addresses of its pixel and links."""
    single = a_single()
    tracking = Tracking(True, False, "https://links.sender.test", bytes((1, 2, 3, 4)), bytes((5, 6, 7, 8)))
    content = msgspec.structs.replace(single.content, html="<p>123456</p>", tracking=tracking)
    return msgspec.structs.replace(single, content=content)


def every_hit() -> Hits:
    """An open as a provider makes it, and a click with all that can be known of it."""
    opened = Hit(
        id=REQUEST,
        kind=HitKind.OPENED,
        delivery=BOB,
        email_id=EMAIL,
        tenant=TENANT,
        at=1_764_000_600.5,
        accepted_at=1_764_000_000.0,
        flag=Flag.PROXY,
    )
    clicked = msgspec.structs.replace(
        opened, id=QUESTION, kind=HitKind.CLICKED, link="https://example.test/?a=1", agent="Mozilla/5.0", flag=None,
        ip="192.0.2.7",
    )  # fmt: skip
    return Hits((opened, clicked))


def a_traced_outcome() -> Outcomes:
    """The same for what became of it."""
    event = every_outcome().events[list(Kind).index(Kind.DELIVERED)]
    return Outcomes((msgspec.structs.replace(event, trace=TRACE),))


def every_outcome() -> Outcomes:
    """An event of each kind."""
    details: dict[Kind, dict[str, Any]] = {
        Kind.STARTED: {"attempt": 1},
        Kind.DEFERRED: {"attempt": 1, "tried": GREYLISTED},
        Kind.DELIVERED: {
            "attempt": 2,
            "tried": Attempt(number=2, at=1_764_000_331.0, reply=Reply(250, "2.0.0 OK", "2.0.0"), duration=0.5),
        },
        Kind.BOUNCED: {
            "attempt": 1,
            "tried": Attempt(
                number=1, at=1_764_000_009.0, reply=Reply(550, "5.1.1 No such user", "5.1.1", Command.RCPT),
                bounce_class="invalid_recipient",
            ),
            "suppress": True,
        },
        Kind.FAILED: {"reason": "line 2: no filter named 'center'"},
        Kind.EXPIRED: {"attempt": 2, "tried": NO_ROUTE, "reason": "expired after 2 attempts"},
        Kind.HELD: {"attempt": 1, "reason": "outcome unknown"},
        Kind.UNCONFIRMED: {"reason": "the broker did not confirm"},
    }  # fmt: skip
    return Outcomes(
        tuple(
            Event(
                id=UUID(int=number, version=5),
                kind=kind,
                delivery=BOB,
                email_id=EMAIL,
                tenant=TENANT,
                lane=Lane.NORMAL,
                to="bob@example.test",
                at=1_764_000_010.0 + number,
                accepted_at=1_764_000_000.0,
                **details.get(kind, {}),
            )
            for number, kind in enumerate(Kind, start=1)
        )
    )


def an_attached() -> Parcel:
    """Two files: one at the end of the mail, one that its html shows. Only such parcels are of version 2."""
    report = Attachment(filename="Bericht März.pdf", content_type="application/pdf", digest="ab" * 32, size=1000)
    logo = Attachment("logo.png", "image/png", "cd" * 32, 70, content_id="logo")
    single = a_single()
    return msgspec.structs.replace(
        single, content=msgspec.structs.replace(single.content, attachments=(report, logo)), wait=Wait.ATTACHMENTS
    )


def a_mail_that_asks_for_tls() -> Parcel:
    """Of version 2 as well: code that knows no such wish would send it in the clear."""
    single = a_single()
    return msgspec.structs.replace(single, content=msgspec.structs.replace(single.content, tls=TlsNeed.REQUIRED))


def an_outcome_with_tls() -> Outcomes:
    """How TLS went, and the negotiations that were made for it: one failed, one went well."""
    event = every_outcome().events[list(Kind).index(Kind.DELIVERED)]
    failed = TlsSession(
        domain="example.test",
        policy=TlsPolicy.STS,
        result="certificate-expired",
        mx="mx1.example.test",
        ip="192.0.2.1",
        text="TLS handshake: certificate: certificate has expired",
        policy_string=("version: STSv1", "mode: testing", "mx: *.example.test", "max_age: 86400"),
        mx_host=("*.example.test",),
    )
    went_well = TlsSession("example.test", TlsPolicy.NONE, mx="mx2.example.test", ip="192.0.2.2")
    assert event.tried is not None
    tried = msgspec.structs.replace(
        event.tried,
        tls="TLSv1.3 TLS_AES_256_GCM_SHA384",
        tls_policy="mta-sts testing",
        sessions=(failed, went_well),
    )
    return Outcomes((msgspec.structs.replace(event, tried=tried),))


def a_heartbeat_with_broken_hosts() -> Heartbeat:
    """Of a sender that speaks to a host in the clear."""
    return msgspec.structs.replace(a_heartbeat(), leaving=False, tls_broken=("mx.d.test[192.0.2.9]:25",))


def a_heartbeat_with_egresses() -> Heartbeat:
    """Of a sender with a warm egress and a new one, whose reverse DNS is missing."""
    warm = EgressState("out1", "out1.sender.test", ("192.0.2.1", "2001:db8::1"))
    problem = "192.0.2.2: reverse DNS: expected out2.sender.test, found nothing"
    new = EgressState(
        "out2", "out2.sender.test", ("192.0.2.2",), open=False, problems=(problem,),
        warming=(Warming("google", 100, 37), Warming("other", 100, 100)),
    )  # fmt: skip
    routes = (PoolRoute(("out1",), (Lane.HIGH,), ("google",), (TENANT,)), PoolRoute(("out1", "out2")))
    return msgspec.structs.replace(a_heartbeat(), leaving=False, egresses=(warm, new), egress_routes=routes)


def an_outcome_with_an_egress() -> Outcomes:
    """What it was sent from."""
    event = every_outcome().events[list(Kind).index(Kind.DELIVERED)]
    assert event.tried is not None
    return Outcomes((msgspec.structs.replace(event, tried=msgspec.structs.replace(event.tried, egress="out1")),))


@dataclass(frozen=True)
class Case:
    """A golden file, its value, and the way there and back."""

    file: str
    value: Any
    decode: Callable[[bytes, dict[str, Any]], Any]
    encode: Callable[[Any], bytes] = codec.encode
    headers: Callable[[Any], dict[str, Any]] = codec.headers_of
    decode_only: bool = False
    """Of an older version: still read, no longer written."""


def parcel_case(name: str, value: Parcel) -> Case:
    return Case(f"parcel.{name}.v1", value, codec.decode_parcel, codec.encode_parcel, codec.parcel_headers)


CASES = (
    parcel_case("single", a_single()),
    parcel_case("bulk", a_bulk()),
    parcel_case("deferred", a_deferred()),
    parcel_case("unsettled", an_unsettled()),
    parcel_case("suspect", a_suspect()),
    parcel_case("traced", a_traced()),
    parcel_case("shaped", a_shaped()),
    parcel_case("shaped_to_come", a_shaped_one_to_come()),
    parcel_case("scheduled", a_scheduled()),
    replace(parcel_case("attached", an_attached()), file="parcel.attached.v2"),
    parcel_case("broadcast", a_broadcast()),
    replace(parcel_case("signed", a_signed()), file="parcel.signed.v2"),
    replace(parcel_case("signed_again", a_signed_again()), file="parcel.signed_again.v2"),
    replace(parcel_case("tls_required", a_mail_that_asks_for_tls()), file="parcel.tls_required.v2"),
    Case("outcomes.tls.v1", an_outcome_with_tls(), codec.decode_tracker),
    Case("heartbeat.broken_tls.v1", a_heartbeat_with_broken_hosts(), codec.decode_notice),
    replace(parcel_case("listed", a_listed()), file="parcel.listed.v2"),
    replace(parcel_case("tracked", a_tracked()), file="parcel.tracked.v2"),
    Case("hits.every_kind.v2", every_hit(), codec.decode_tracker),
    Case("heartbeat.egresses.v1", a_heartbeat_with_egresses(), codec.decode_notice),
    Case("outcomes.egress.v1", an_outcome_with_an_egress(), codec.decode_tracker),
    Case(
        "reservation.log.v1",
        Reservation(id=REQUEST, sender=ASKER, egress="out2", site="google", day=20_417, count=5, most=100),
        codec.decode_control,
    ),
    Case("outcomes.traced.v1", a_traced_outcome(), codec.decode_tracker),
    Case(
        "question.traced.v1",
        Question(id=QUESTION, asker=ASKER, reply_to="answers.e", deliveries=(BOB,), attempt=1, bound=True, trace=TRACE),
        codec.decode_tracker,
    ),
    Case("outcomes.every_kind.v1", every_outcome(), codec.decode_tracker),
    Case(
        "question.first.v1",
        Question(id=QUESTION, asker=ASKER, reply_to="answers.e", deliveries=(BOB, EVE), attempt=1),
        codec.decode_tracker,
    ),
    Case(
        "question.redelivered.v1",
        Question(id=QUESTION, asker=ASKER, reply_to="answers.e", deliveries=(BOB,), attempt=2, turn=1, count=4),
        codec.decode_tracker,
    ),
    Case(
        "question.bound.v1",
        Question(id=QUESTION, asker=ASKER, reply_to="answers.e", deliveries=(BOB,), attempt=1, bound=True),
        codec.decode_tracker,
    ),
    Case("answer.every_verdict.v1", Answer(question=QUESTION, verdicts=tuple(Verdict)), codec.decode_answer),
    Case("cancel.tracker.v1", Cancel(email_id=EMAIL, tenant=TENANT, at=1_764_000_005.0), codec.decode_tracker),
    Case("cancel.log.v1", Cancel(email_id=EMAIL, tenant=TENANT, at=1_764_000_005.0), codec.decode_control),
    Case(
        "cancel_broadcast.log.v1",
        CancelBroadcast(broadcast=REQUEST, tenant=TENANT, at=1_764_000_005.0),
        codec.decode_control,
    ),
    Case(
        "suppress.log.v1",
        Suppress(tenant=TENANT, address="bob@example.test", at=1_764_000_006.5),
        codec.decode_control,
    ),
    Case(
        "suppress.topic.log.v1",
        Suppress(
            tenant=TENANT,
            address="bob@example.test",
            at=1_764_000_006.5,
            topic=REQUEST,
            until=1_764_000_106.5,
            removed=True,
            more=("eve@example.test",),
        ),
        codec.decode_control,
    ),
    Case(
        "order.retried.v1",
        Order(id=REQUEST, work=Work.RETENTION, due_at=1_764_000_000.25, attempt=3),
        codec.decode_order,
        codec.encode_order,
        codec.order_headers,
    ),
    Case(
        "order.subject.v1",
        Order(id=REQUEST, work=Work.IMPORT, due_at=1_764_000_000.25, attempt=2, subject=EMAIL),
        codec.decode_order,
        codec.encode_order,
        codec.order_headers,
    ),
    Case(
        "override.rule.v1",
        Override(
            id=UUID(int=7, version=5),
            scope=Scope.SITE,
            name="yahoo",
            since=1_764_000_010.5,
            until=1_764_001_810.5,
            connections=1,
            rate=0.016,
            cause="rule:rate_limited",
            sample="421 4.7.0 [TSS04] Messages temporarily deferred",
        ),
        codec.decode_control,
    ),
    Case(
        "override.person.v1",
        Override(
            id=REQUEST,
            scope=Scope.TENANT,
            name=str(TENANT),
            since=1_764_000_010.0,
            until=1_764_000_310.0,
            suspend=True,
            cause="person:key dev",
        ),
        codec.decode_control,
    ),
    Case(
        "override.lane.v2",
        Override(
            id=REQUEST,
            scope=Scope.TENANT,
            name=str(TENANT),
            since=1_764_000_010.0,
            until=1_764_086_410.0,
            suspend=True,
            cause="bounces",
            sample="10.2 % of 4,000 mails bounced or drew complaints",
            lane=Lane.BULK,
        ),
        codec.decode_control,
    ),
    Case("override_end.log.v1", OverrideEnd(id=REQUEST, at=1_764_000_020.0, by="person:key dev"), codec.decode_control),
    Case("slot_plan.log.v1", SlotPlan("google", 3, 5, 1, 1_764_000_030.0), codec.decode_control),
    Case("token.slot.v1", Token("google", 3, 0), codec.decode_token),
    Case("keeper.slots.v1", Keeper(at=1_764_000_000.0), codec.decode_keeper),
    Case("heartbeat.leaving.v1", a_heartbeat(), codec.decode_notice),
    Case("heartbeat.missing_keys.v1", a_heartbeat_without_keys(), codec.decode_notice),
    Case(
        "sighting.tenant.v1",
        Sighting("google", TENANT, "unusual_rate", 1_764_000_011.0, 2, "421 4.7.28 unusual rate"),
        codec.decode_notice,
    ),
    Case("marker.log.v1", Marker(nonce=ASKER), codec.decode_control),
)
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
written = pytest.mark.parametrize("case", [one for one in CASES if not one.decode_only], ids=lambda case: case.file)


def golden(case: Case) -> tuple[dict[str, Any], bytes]:
    """The headers and the body's bytes of a golden file."""
    file = msgspec.json.decode((GOLDEN / f"{case.file}.json").read_bytes(), type=dict[str, msgspec.Raw])
    return msgspec.json.decode(file["headers"]), msgspec.json.format(bytes(file["body"]), indent=-1)


@cases
def test_a_golden_message_is_still_read(case: Case) -> None:
    headers, body = golden(case)
    assert case.value == case.decode(body, headers)


@written
def test_a_value_is_still_written_as_its_golden_message(case: Case) -> None:
    headers, body = golden(case)
    assert body == case.encode(case.value)
    assert headers == case.headers(case.value)


@cases
def test_a_field_of_a_later_release_is_passed_over(case: Case) -> None:
    headers, body = golden(case)
    richer = msgspec.json.encode(_with_more_fields(msgspec.json.decode(body)))
    assert richer != body
    assert case.value == case.decode(richer, headers | {"mw-later": "x"})


@cases
def test_a_newer_version_is_put_back_unread(case: Case) -> None:
    headers, _ = golden(case)
    with pytest.raises(codec.NewerVersion, match=f"version {codec.VERSION + 1}"):
        case.decode(b"whatever it looks like by then", headers | {codec.VERSION_HEADER: codec.VERSION + 1})


def test_every_golden_file_has_its_case() -> None:
    assert {case.file for case in CASES} == {path.stem for path in GOLDEN.glob("*.json")}


def test_the_tracker_tells_parcels_from_the_rest_by_their_headers() -> None:
    for case in CASES:
        assert codec.is_parcel(golden(case)[0]) == isinstance(case.value, Parcel)


def test_parcel_headers_leak_no_address_into_celery_logs() -> None:
    headers = codec.parcel_headers(a_single())
    assert "gmail" not in repr(headers)
    assert (headers["argsrepr"], headers["kwargsrepr"]) == ("", "")


def test_no_release_writes_a_wait_that_the_one_before_cannot_read() -> None:
    """It would be no parcel to it, and be parked (ADR 0019)."""
    known_before = {"deferred", "hop", "unsettled", "claimed", "newer"}
    assert SHAPED_WAIT in known_before
    with_needs = {Wait.ATTACHMENTS, Wait.KEYS}
    assert set(Wait) - known_before - with_needs == {Wait.SHAPED}


@pytest.mark.parametrize(
    "need",
    [
        {},
        {"attachments": (Attachment("a.txt", "text/plain", "ab" * 32, 1),)},
        {"signing": "sender.test"},
        {"envelope_sender": "b@sender.test"},
        {"tracking": Tracking(True, True, "https://links.sender.test", b"h", b"k")},
    ],
)
def test_a_parcel_with_needs_is_not_read_by_code_that_would_pass_over_them(need: dict[str, Any]) -> None:
    parcel = a_single()
    parcel = msgspec.structs.replace(parcel, content=msgspec.structs.replace(parcel.content, **need))
    assert codec.parcel_headers(parcel)[codec.VERSION_HEADER] == (codec.WITH_NEEDS if need else codec.WRITTEN)


def test_a_wish_to_be_tracked_that_nothing_comes_of_is_no_need() -> None:
    parcel = a_single()
    parcel = msgspec.structs.replace(parcel, content=msgspec.structs.replace(parcel.content, tracking=Tracking(False)))
    assert codec.parcel_headers(parcel)[codec.VERSION_HEADER] == codec.WRITTEN


@pytest.mark.parametrize("header", [{"task": "ops.heartbeat"}, {"id": str(PARCEL)}, {"id": None}])
def test_an_order_under_another_name_is_none(header: dict[str, Any]) -> None:
    """Celery goes by the headers, and we by the body: they have to say the same."""
    order = Order(id=REQUEST, work=Work.RETENTION, due_at=1.0)
    headers = codec.order_headers(order) | header
    with pytest.raises(codec.Undecodable, match="another task"):
        codec.decode_order(codec.encode_order(order), headers)


def _with_more_fields(value: Any) -> Any:
    if isinstance(value, dict):
        # Free-form mappings are data, not structs: a new key there would be a change of the data.
        free = {"variables", "metadata", "headers"}
        return {k: v if k in free else _with_more_fields(v) for k, v in value.items()} | {"added_later": [1]}
    return [_with_more_fields(item) for item in value] if isinstance(value, list) else value
