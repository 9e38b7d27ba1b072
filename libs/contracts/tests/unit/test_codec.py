"""The codec: whatever is written is read again, and whatever else arrives is named and raises nothing surprising."""

import math
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwarren.contracts import codec
from mailwarren.contracts.events import Cancel, Event, Kind, Marker, Outcomes, Suppress
from mailwarren.contracts.ids import PARTITIONS
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Attempt, Content, Delivery, Mark, OnUnknown, Parcel, Role, Syntax, Wait
from mailwarren.contracts.reply import Command, Reply
from mailwarren.contracts.settle import Answer, Question, Verdict
from mailwarren.contracts.shaping import (
    Heartbeat,
    Keeper,
    Override,
    OverrideEnd,
    Scope,
    Sighting,
    SiteState,
    SlotPlan,
    Token,
)
from mailwarren.contracts.testing import a_parcel, an_event

HEADERS = {codec.VERSION_HEADER: codec.VERSION}

quick = settings(max_examples=60, deadline=None)
texts = st.text(max_size=20)
moments = st.floats(min_value=0, max_value=4e9)
small = st.integers(min_value=0, max_value=2**31)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e300, 1e300) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def many(strategy: st.SearchStrategy[Any], *, least: int = 0) -> st.SearchStrategy[Any]:
    return st.lists(strategy, min_size=least, max_size=3).map(tuple)


replies = st.builds(
    Reply,
    code=st.integers(200, 599),
    text=texts,
    enhanced=st.none() | st.just("5.1.1"),
    command=st.sampled_from(Command),
)
attempts = st.builds(
    Attempt,
    number=small,
    at=moments,
    reply=st.none() | replies,
    trouble=st.none() | texts,
    bounce_class=st.none() | texts,
    site=texts,
    host=texts,
    duration=moments,
)
contents = st.builds(
    Content,
    sender=texts,
    subject=texts,
    html=st.none() | texts,
    text=st.none() | texts,
    to=many(texts),
    cc=many(texts),
    bcc=many(texts),
    reply_to=many(texts),
    headers=st.dictionaries(texts, texts, max_size=2),
    tags=many(st.builds(Mark, name=texts, value=texts)),
    syntax=st.sampled_from(Syntax),
)
deliveries = st.builds(
    Delivery,
    id=st.uuids(),
    email_id=st.uuids(),
    to=texts,
    message_id=texts,
    mailbox=texts,
    role=st.sampled_from(Role),
    variables=st.dictionaries(texts, json_values, max_size=3),
    metadata=st.dictionaries(texts, texts, max_size=2),
    suppressed=st.booleans(),
    last=st.none() | attempts,
)
parcels = st.builds(
    Parcel,
    id=st.uuids(),
    tenant=st.uuids(),
    lane=st.sampled_from(Lane),
    shard=texts,
    partition=st.integers(0, PARTITIONS - 1),
    content=contents,
    deliveries=many(deliveries, least=1),
    accepted_at=moments,
    request_id=st.none() | st.uuids(),
    expires_at=st.none() | moments,
    on_unknown=st.sampled_from(OnUnknown),
    attempt=small,
    not_before=st.none() | moments,
    wait=st.none() | st.sampled_from(Wait),
    settle=st.booleans(),
    turn=small,
    asked_at=st.none() | moments,
    trace=st.none() | texts,
    shaped=small,
)
events = st.builds(
    Event,
    id=st.uuids(),
    kind=st.sampled_from(Kind),
    delivery=st.uuids(),
    email_id=st.uuids(),
    tenant=st.uuids(),
    lane=st.sampled_from(Lane),
    to=texts,
    at=moments,
    attempt=small,
    tried=st.none() | attempts,
    reason=st.none() | texts,
    suppress=st.booleans(),
    accepted_at=st.none() | moments,
    trace=st.none() | texts,
)
questions = st.builds(
    Question,
    id=st.uuids(),
    asker=st.uuids(),
    reply_to=texts,
    deliveries=many(st.uuids()),
    attempt=small,
    turn=small,
    count=small,
    trace=st.none() | texts,
)
answers = st.builds(Answer, question=st.uuids(), verdicts=many(st.sampled_from(Verdict)))
cancels = st.builds(Cancel, email_id=st.uuids(), tenant=st.uuids(), at=moments)
suppressions = st.builds(Suppress, tenant=st.uuids(), address=texts, at=moments)
markers = st.builds(Marker, nonce=st.uuids())
overrides = st.builds(
    Override,
    id=st.uuids(),
    scope=st.sampled_from(Scope),
    name=texts,
    since=moments,
    until=moments,
    suspend=st.booleans(),
    connections=st.none() | small,
    rate=st.none() | moments,
    cause=texts,
    sample=texts,
)
ends = st.builds(OverrideEnd, id=st.uuids(), at=moments, by=texts)
plans = st.builds(SlotPlan, site=texts, generation=small, connections=small, reserved=small, valid_from=moments)
tokens = st.builds(Token, site=texts, generation=small, index=small)
heartbeats = st.builds(
    Heartbeat,
    sender=st.uuids(),
    host=texts,
    fleet=texts,
    version=texts,
    started_at=moments,
    at=moments,
    queues=many(texts),
    in_flight=small,
    limit=small,
    waiting=small,
    mails_10s=small,
    leaving=st.booleans(),
    sites=many(st.builds(SiteState, name=texts, open=small, busy=small, waiting=small, slots=small, rate_10s=moments)),
)
sightings = st.builds(
    Sighting, site=texts, tenant=st.none() | st.uuids(), rule=texts, at=moments, count=small, sample=texts
)


@quick
@given(parcels)
def test_a_parcel_survives_the_trip(parcel: Parcel) -> None:
    assert parcel == codec.decode_parcel(codec.encode_parcel(parcel), codec.parcel_headers(parcel))


@quick
@given(st.builds(Outcomes, events=many(events)) | questions | cancels)
def test_what_the_tracker_reads_survives_the_trip(message: Any) -> None:
    assert message == codec.decode_tracker(codec.encode(message), codec.headers_of(message))


@quick
@given(cancels | suppressions | markers | overrides | ends | plans)
def test_a_control_entry_survives_the_trip(entry: Any) -> None:
    assert entry == codec.decode_control(codec.encode(entry), codec.headers_of(entry))


@quick
@given(heartbeats | sightings)
def test_what_senders_say_to_all_survives_the_trip(notice: Any) -> None:
    assert notice == codec.decode_notice(codec.encode(notice), codec.headers_of(notice))


@quick
@given(tokens)
def test_a_token_survives_the_trip(token: Token) -> None:
    assert token == codec.decode_token(codec.encode(token), codec.headers_of(token))


@quick
@given(answers)
def test_an_answer_survives_the_trip(answer: Answer) -> None:
    assert answer == codec.decode_answer(codec.encode(answer), codec.headers_of(answer))


DECODERS = (
    codec.decode_parcel, codec.decode_tracker, codec.decode_control, codec.decode_answer, codec.decode_notice,
    codec.decode_token, codec.decode_keeper,
)  # fmt: skip
decoders = pytest.mark.parametrize("decode", DECODERS, ids=lambda decode: decode.__name__)
header_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
header_tables = st.dictionaries(st.sampled_from([codec.VERSION_HEADER, codec.TYPE_HEADER, "x"]), header_values)


@decoders
@settings(max_examples=150, deadline=None)
@given(body=st.binary(max_size=200), headers=st.just(HEADERS) | header_tables)
def test_arbitrary_bytes_are_undecodable_or_newer_and_nothing_else(
    decode: Any, body: bytes, headers: dict[str, Any]
) -> None:
    with pytest.raises((codec.Undecodable, codec.NewerVersion)):
        decode(body, headers)


PARCEL = a_parcel(to=("bob@example.test", "eve@example.test"), accepted_at=1.0)
WHOLE = (
    codec.encode_parcel(PARCEL),
    codec.encode(Outcomes((an_event(PARCEL, at=2.0, tried=None),))),
    codec.encode(Cancel(PARCEL.id, PARCEL.tenant, 1.0)),
    codec.encode(Answer(PARCEL.id, (Verdict.DONE,))),
    codec.encode(Override(PARCEL.id, Scope.SITE, "google", 1.0, 2.0, rate=0.5)),
    codec.encode(Token("google", 1, 0)),
    codec.encode(Keeper(at=1_764_000_000.0)),
)


@decoders
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_messages_are_read_or_undecodable(decode: Any, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(WHOLE))
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    reason = None
    try:
        decode(whole[:start] + data.draw(st.binary(max_size=3)) + whole[end:], HEADERS)
    except codec.Undecodable as problem:
        reason = str(problem)
    assert reason != ""  # it stands beside the message in mail.dead


@decoders
@quick
@given(value=json_values)
def test_json_of_another_shape_is_undecodable(decode: Any, value: Any) -> None:
    with pytest.raises(codec.Undecodable):
        decode(msgspec.json.encode(value), HEADERS)


@decoders
@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_nesting_cannot_exhaust_the_stack(decode: Any, depth: int) -> None:
    bodies = [b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth]
    whole = codec.encode_parcel(a_parcel())
    bodies.append(whole.replace(b'"message_id"', b'"variables":{"a":' + bodies[2] + b'},"message_id"'))
    for body in bodies:
        with pytest.raises(codec.Undecodable):
            decode(body, HEADERS)


@pytest.mark.parametrize("version", [None, "1", 1.0, True, 0, -1, b"1"])
def test_a_message_without_a_proper_version_is_undecodable(version: Any) -> None:
    body = codec.encode_parcel(a_parcel())
    with pytest.raises(codec.Undecodable, match="no mw-version header"):
        codec.decode_parcel(body, {} if version is None else {codec.VERSION_HEADER: version})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"deliveries": ()}, "without deliveries"),
        ({"partition": PARTITIONS}, f"no partition {PARTITIONS}"),
        ({"partition": -1}, "no partition -1"),
    ],
)
def test_a_parcel_that_no_sender_could_finish_is_undecodable(change: dict[str, Any], reason: str) -> None:
    parcel = a_parcel(**change)
    with pytest.raises(codec.Undecodable, match=reason):
        codec.decode_parcel(codec.encode_parcel(parcel), HEADERS)


def test_a_parcel_for_a_shard_of_another_map_is_read() -> None:
    """Senders take any parcel from any queue, so that the domain map may change at any moment."""
    parcel = a_parcel(shard="h31")
    assert parcel == codec.decode_parcel(codec.encode_parcel(parcel), HEADERS)


def test_the_reason_names_the_field() -> None:
    body = codec.encode_parcel(a_parcel()).replace(b'"lane":"normal"', b'"lane":"urgent"')
    with pytest.raises(codec.Undecodable, match=r"urgent.*parcel\.lane"):
        codec.decode_parcel(body, HEADERS)


def test_one_kind_of_message_is_not_mistaken_for_another() -> None:
    question = Question(UUID(int=1), UUID(int=2), "q", (UUID(int=3),), 1)
    with pytest.raises(codec.Undecodable):
        codec.decode_control(codec.encode(question), HEADERS)
    with pytest.raises(codec.Undecodable):
        codec.decode_tracker(codec.encode(Marker(UUID(int=1))), HEADERS)


def test_times_keep_their_microseconds() -> None:
    parcel = a_parcel(accepted_at=1_764_000_000.123456)
    read = codec.decode_parcel(codec.encode_parcel(parcel), HEADERS)
    assert math.isclose(read.accepted_at, 1_764_000_000.123456, abs_tol=1e-7)
