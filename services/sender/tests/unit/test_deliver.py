"""The order of things in a sender: nothing is acked before what it led to is confirmed."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from mailwarren.contracts.codec import VERSION, decode_parcel, encode_parcel, parcel_headers
from mailwarren.contracts.events import Event, Kind
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.ladder import Ladder
from mailwarren.contracts.parcel import SHAPED_WAIT, Attachment, Delivery, OnUnknown, Parcel, Wait
from mailwarren.contracts.reply import Reply
from mailwarren.contracts.testing import TENANT, a_content, a_delivery, a_parcel, an_attempt
from mailwarren.sender.adapters.blobs import BlobMissing, BlobsAway
from mailwarren.sender.adapters.dkim_keys import KeysAway
from mailwarren.sender.adapters.ladder import Stale
from mailwarren.sender.deliver import Deliverer
from mailwarren.sender.incoming import Finish, Incoming
from mailwarren.sender.settle import Settled
from mailwarren.sender.shaping.shaper import SlowSite
from mailwarren.sender.slots import Slots
from mailwarren.sender.suspects import SUSPECT_AFTER, Suspects
from mailwarren.sender.transmit import Permit, Tried, Withdrawn

LADDER = Ladder(0.01)


class Ports:
    """All that a deliverer talks to, recording in one list what happened in which order."""

    def __init__(self) -> None:
        self.happened: list[tuple[str, Any]] = []
        self.canceled: set[UUID] = set()
        self.unwanted: set[str] = set()
        self.blobs_error: Exception | None = None
        self.keys_error: Exception | None = None
        self.signed_by: list[Any] = []
        self.files_at_hand = True
        self.before_files: Callable[[], None] = lambda: None
        self.settled: Callable[[Parcel, list[Delivery]], Settled] = lambda _, deliveries: Settled(list(deliveries))
        self.tried: Callable[[Parcel, Delivery], Tried] = lambda parcel, one: Tried(
            one, Kind.DELIVERED, an_attempt(parcel.attempt)
        )
        self.before_data: Callable[[], None] = lambda: None
        self.slots = Slots(10)
        self.waits: list[float | bool] = []
        """What waiting for the site comes to, for each time that it is slow."""
        self.deliverer = Deliverer(
            outcomes=self,  # type: ignore[arg-type]
            ladder_writer=self,  # type: ignore[arg-type]
            control=self,  # type: ignore[arg-type]
            settler=self,  # type: ignore[arg-type]
            transmitter=self,  # type: ignore[arg-type]
            ladder=LADDER,
            slots=self.slots,
            shaper=self,  # type: ignore[arg-type]
            suspects=Suspects(self, LADDER, "here:1"),  # type: ignore[arg-type]
            blobs=self,  # type: ignore[arg-type]
            signer=self,  # type: ignore[arg-type]
        )

    async def report(self, partition: int, event: Event) -> None:
        await asyncio.sleep(0)
        self.happened.append((event.kind, event))

    def post(self, partition: int, event: Event) -> "asyncio.Future[None]":
        return asyncio.ensure_future(self.report(partition, event))

    async def put(self, parcel: Parcel, wait: float, owned: Callable[[], bool]) -> None:
        if not owned():
            raise Stale
        self.happened.append(("ladder", (parcel, wait)))

    async def put_unread(self, body: bytes, headers: Any, *, queue: str, owned: Any) -> None:
        self.happened.append(("unread", (body, queue)))

    async def park(self, body: bytes, headers: Any, *, queue: str, key: str, reason: str, owned: Any) -> None:
        self.happened.append(("park", (body, headers, reason)))

    def at_hand(self, attachments: Sequence[Attachment]) -> bool:
        return self.files_at_hand

    @asynccontextmanager
    async def open(self, attachments: Sequence[Attachment]) -> AsyncIterator[list[Any]]:
        self.happened.append(("open", ([one.filename for one in attachments], self.slots.used)))
        self.before_files()
        if self.blobs_error is not None:
            raise self.blobs_error
        yield []
        self.happened.append(("close", None))

    async def sign_for(self, tenant: UUID, domain: str) -> object:
        self.happened.append(("keys", (tenant, domain)))
        if self.keys_error is not None:
            raise self.keys_error
        return "signing"

    async def wait_read(self) -> None:
        self.happened.append(("log read", None))

    def is_withdrawn(self, parcel: Parcel, delivery: Delivery) -> bool:
        return bool({delivery.email_id, parcel.broadcast} & self.canceled)

    def is_unwanted(self, _: Parcel, delivery: Delivery) -> bool:
        return delivery.to in self.unwanted

    async def settle(self, parcel: Parcel, deliveries: list[Delivery], count: int, owned: Any) -> Settled:
        self.happened.append(("settle", count))
        return self.settled(parcel, deliveries)

    async def wait(
        self, site: str, parcel: Parcel, incoming: Incoming, *, resume: Callable[[], Any], **_: Any
    ) -> float | bool:
        self.happened.append(("wait", self.slots.used))
        await asyncio.sleep(0)
        found = self.waits.pop(0)
        if isinstance(found, bool):
            await resume()
        return found

    async def transmit(self, parcel: Parcel, delivery: Delivery, permit: Permit, *, turn: bool = False) -> Tried:
        await asyncio.sleep(0)
        if self.waits and not turn:
            raise SlowSite("x.test")
        if permit.files is None:
            return await self._try(parcel, delivery, permit)
        async with permit.files():
            return await self._try(parcel, delivery, permit)

    async def _try(self, parcel: Parcel, delivery: Delivery, permit: Permit) -> Tried:
        if permit.begin is not None:
            await permit.begin(delivery)
        if permit.insure is not None:
            await permit.insure()
        self.before_data()
        if not permit.owned():
            raise Stale
        if not permit.wanted(delivery):
            raise Withdrawn
        self.happened.append(("transmit", delivery.to))
        self.signed_by.append(permit.signing)
        return self.tried(parcel, delivery)

    def names(self) -> list[str]:
        return [str(name) for name, _ in self.happened if name != "log read"]

    def of(self, name: str) -> list[Any]:
        return [value for found, value in self.happened if found == name]


@pytest.fixture
def ports() -> Ports:
    return Ports()


def incoming(parcel: Parcel, **changes: Any) -> Incoming:
    values: dict[str, Any] = {
        "body": encode_parcel(parcel),
        "headers": parcel_headers(parcel),
        "queue": "send.normal.h1",
        "key": "normal.h1",
        "redelivered": False,
        "owned": lambda: True,
    }
    return Incoming(**(values | changes))


def deferred(parcel: Parcel, one: Delivery, retry_in: float | None = None) -> Tried:
    return Tried(one, Kind.DEFERRED, an_attempt(parcel.attempt, Reply(451, "later", "4.3.0")), retry_in=retry_in)


async def test_a_fresh_parcel_is_sent_without_asking(ports: Ports) -> None:
    finish = await ports.deliverer.finish(incoming(a_parcel(to=("a@x.test", "b@x.test"))))
    assert finish is Finish.ACK
    assert sorted(ports.names()) == ["delivered", "delivered", "transmit", "transmit"]


@pytest.mark.parametrize(
    ("parcel", "changes"),
    [
        (a_parcel(), {"redelivered": True}),
        (a_parcel(attempt=2), {}),
        (a_parcel(settle=True), {}),
        (a_parcel(turn=1), {}),
    ],
)
async def test_what_may_have_been_tried_is_settled_first(ports: Ports, parcel: Parcel, changes: dict[str, Any]) -> None:
    await ports.deliverer.finish(incoming(parcel, **changes))
    assert ports.names() == ["settle", "transmit", "delivered"]


async def test_settled_parcels_send_only_what_is_untouched(ports: Ports) -> None:
    ports.settled = lambda _, deliveries: Settled([deliveries[1]])
    assert await ports.deliverer.finish(incoming(a_parcel(to=("a@x.test", "b@x.test"), attempt=2))) is Finish.ACK
    assert ports.of("transmit") == ["b@x.test"]


async def test_a_parcel_that_is_not_due_goes_on_waiting(ports: Ports) -> None:
    parcel = a_parcel(attempt=2, not_before=time.time() + 1.0)
    assert await ports.deliverer.finish(incoming(parcel)) is Finish.ACK
    assert ports.names() == ["ladder"]
    ((again, wait),) = ports.of("ladder")
    assert (again.wait, again.attempt, again.not_before) == (Wait.HOP, 2, parcel.not_before)
    assert wait == pytest.approx(1.0, abs=0.1)


async def test_suppressed_deliveries_are_left_alone(ports: Ports) -> None:
    parcel = a_parcel(deliveries=(a_delivery("a@x.test", suppressed=True), a_delivery("b@x.test")))
    assert await ports.deliverer.finish(incoming(parcel)) is Finish.ACK
    assert ports.of("transmit") == ["b@x.test"]


async def test_a_cancelled_email_is_reported_and_not_sent(ports: Ports) -> None:
    parcel = a_parcel()
    ports.canceled = {parcel.deliveries[0].email_id}
    assert await ports.deliverer.finish(incoming(parcel)) is Finish.ACK
    assert ports.names() == ["canceled"]


async def test_mail_of_a_cancelled_broadcast_is_reported_and_not_sent(ports: Ports) -> None:
    parcel = replace(a_parcel(), broadcast=uuid4())
    ports.canceled = {parcel.broadcast}
    assert await ports.deliverer.finish(incoming(parcel)) is Finish.ACK
    assert ports.names() == ["canceled"]


async def test_mail_of_another_broadcast_is_sent(ports: Ports) -> None:
    ports.canceled = {uuid4()}
    assert await ports.deliverer.finish(incoming(replace(a_parcel(), broadcast=uuid4()))) is Finish.ACK
    assert ports.names() == ["transmit", "delivered"]


async def test_who_left_after_the_mail_was_accepted_gets_none_of_it(ports: Ports) -> None:
    parcel = a_parcel(to=("a@x.test", "b@x.test"))
    ports.unwanted = {"a@x.test"}
    assert await ports.deliverer.finish(incoming(parcel)) is Finish.ACK
    assert ports.of("transmit") == ["b@x.test"]
    (event,) = ports.of("suppressed")
    assert (event.to, event.attempt) == ("a@x.test", 0)
    assert "after the mail was accepted" in event.reason


async def test_who_leaves_while_the_mail_waits_for_a_connection_gets_none_of_it(ports: Ports) -> None:
    parcel = a_parcel()
    ports.before_data = lambda: ports.unwanted.add(parcel.deliveries[0].to)
    assert await ports.deliverer.finish(incoming(parcel)) is Finish.ACK
    assert ports.names() == ["suppressed"]


async def test_a_mail_cancelled_while_it_waits_for_a_connection_is_not_sent(ports: Ports) -> None:
    parcel = a_parcel()
    ports.before_data = lambda: ports.canceled.add(parcel.deliveries[0].email_id)
    assert await ports.deliverer.finish(incoming(parcel)) is Finish.ACK
    assert ports.names() == ["canceled"]


async def test_a_mail_that_expires_while_it_waits_for_a_connection_is_not_sent(ports: Ports) -> None:
    ports.before_data = lambda: time.sleep(0.06)
    assert await ports.deliverer.finish(incoming(a_parcel(expires_at=time.time() + 0.05))) is Finish.ACK
    assert ports.names() == ["expired"]


async def test_an_expired_mail_is_reported_and_not_sent(ports: Ports) -> None:
    await ports.deliverer.finish(incoming(a_parcel(expires_at=time.time() - 1)))
    assert ports.names() == ["expired"]


async def test_a_deferral_is_on_the_ladder_with_its_reply_before_the_ack(ports: Ports) -> None:
    ports.tried = deferred
    parcel = a_parcel(to=("a@x.test", "b@x.test"))
    assert await ports.deliverer.finish(incoming(parcel)) is Finish.ACK
    ((again, wait),) = ports.of("ladder")
    assert (again.id, again.attempt, again.wait, len(again.deliveries)) == (parcel.id, 2, Wait.DEFERRED, 2)
    assert all(one.last.reply.code == 451 and one.last.number == 1 for one in again.deliveries)
    assert 2.4 * 0.99 <= wait <= 3.6 * 1.2  # five minutes at scale 0.01, jitter and rounding
    assert again.not_before == pytest.approx(time.time() + wait, abs=0.5)


async def test_a_delivery_that_the_server_wants_later_gets_a_parcel_of_its_own(ports: Ports) -> None:
    ports.tried = lambda parcel, one: deferred(parcel, one, 3600.0 if one.to.startswith("b") else None)
    await ports.deliverer.finish(incoming(a_parcel(to=("a@x.test", "b@x.test"))))
    puts = ports.of("ladder")
    assert sorted(parcel.deliveries[0].to for parcel, _ in puts) == ["a@x.test", "b@x.test"]
    assert len({parcel.id for parcel, _ in puts}) == 2


async def test_a_mail_without_time_for_another_try_expires_with_its_last_reply(ports: Ports) -> None:
    ports.tried = deferred
    await ports.deliverer.finish(incoming(a_parcel(expires_at=time.time() + 1)))
    (event,) = ports.of("expired")
    assert event.tried.reply.code == 451
    assert ports.of("ladder") == []


@pytest.mark.parametrize("on_unknown", [OnUnknown.HOLD, OnUnknown.FAIL])
async def test_mail_that_must_not_double_says_started_first(ports: Ports, on_unknown: OnUnknown) -> None:
    await ports.deliverer.finish(incoming(a_parcel(on_unknown=on_unknown)))
    assert ports.names() == ["started", "transmit", "delivered"]


async def test_unreadable_messages_are_parked_with_a_reason(ports: Ports) -> None:
    message = incoming(a_parcel(), body=b"{not json")
    assert await ports.deliverer.finish(message) is Finish.ACK
    ((body, _, reason),) = ports.of("park")
    assert body == b"{not json"
    assert "undecodable" in reason


async def test_a_newer_version_waits_for_a_sender_that_knows_it(ports: Ports) -> None:
    message = incoming(a_parcel())
    message.headers = message.headers | {"mw-version": VERSION + 1}
    assert await ports.deliverer.finish(message) is Finish.ACK
    assert ports.of("unread") == [(message.body, "send.normal.h1")]


async def test_our_own_bug_parks_one_delivery_and_spares_its_neighbours(ports: Ports) -> None:
    def tried(parcel: Parcel, one: Delivery) -> Tried:
        if one.to.startswith("b"):
            raise KeyError("oops")
        return Tried(one, Kind.DELIVERED, an_attempt())

    ports.tried = tried
    assert await ports.deliverer.finish(incoming(a_parcel(to=("a@x.test", "b@x.test", "c@x.test")))) is Finish.ACK
    ((body, headers, reason),) = ports.of("park")
    assert [one.to for one in decode_parcel(body, headers).deliveries] == ["b@x.test"]
    assert "KeyError" in reason
    assert "bounced" not in ports.names()
    assert ports.names().count("delivered") == 2


async def test_a_parcel_that_is_no_longer_ours_is_left_to_its_new_holder(ports: Ports) -> None:
    assert await ports.deliverer.finish(incoming(a_parcel(), owned=lambda: False)) is Finish.STALE
    assert ports.names() == []


async def test_what_was_past_its_final_dot_is_still_reported_when_the_broker_is_lost(ports: Ports) -> None:
    mine = [True]

    def tried(parcel: Parcel, one: Delivery) -> Tried:
        mine[0] = False  # the connection goes while the reply to the dot is awaited
        return Tried(one, Kind.DELIVERED, an_attempt())

    ports.tried = tried
    assert await ports.deliverer.finish(incoming(a_parcel(), owned=lambda: mine[0])) is Finish.STALE
    assert ports.names() == ["transmit", "delivered"]


async def test_what_this_process_finished_is_not_sent_again_after_a_lost_ack(ports: Ports) -> None:
    parcel = a_parcel()
    await ports.deliverer.finish(incoming(parcel))
    assert await ports.deliverer.finish(incoming(parcel, redelivered=True)) is Finish.ACK
    assert ports.names() == ["transmit", "delivered"]


async def test_what_this_process_is_still_sending_is_waited_for(ports: Ports) -> None:
    parcel, gate = a_parcel(), asyncio.Event()

    async def slow(_parcel: Parcel, one: Delivery, _permit: Permit, **_: Any) -> Tried:
        ports.happened.append(("transmit", one.to))
        await gate.wait()
        return Tried(one, Kind.DELIVERED, an_attempt())

    ports.transmit = slow  # type: ignore[method-assign]
    first = asyncio.create_task(ports.deliverer.finish(incoming(parcel)))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(ports.deliverer.finish(incoming(parcel, redelivered=True)))
    await asyncio.sleep(0.01)
    assert not second.done()
    gate.set()
    assert await first is Finish.ACK
    assert await second is Finish.ACK
    assert ports.names() == ["transmit", "delivered"]


@pytest.mark.parametrize("copies", [2, 3])
async def test_copies_at_one_sender_do_not_ask_side_by_side(ports: Ports, copies: int) -> None:
    """They ask as one asker, so all would be told to send."""
    parcel, answer = a_parcel(to=("a@x.test", "b@x.test"), settle=True), asyncio.Event()

    async def slow(_parcel: Parcel, deliveries: list[Delivery], _count: int, _owned: Any) -> Settled:
        ports.happened.append(("settle", len(deliveries)))
        await answer.wait()
        return Settled(list(deliveries))

    ports.settle = slow  # type: ignore[method-assign]
    tasks = [asyncio.create_task(ports.deliverer.finish(incoming(parcel))) for _ in range(copies)]
    await asyncio.sleep(0.01)
    answer.set()
    assert await asyncio.gather(*tasks) == [Finish.ACK] * copies
    assert ports.names().count("settle") == 1
    assert sorted(ports.of("transmit")) == ["a@x.test", "b@x.test"]


async def test_a_copy_that_met_another_is_settled_when_that_one_did_not_finish(ports: Ports) -> None:
    parcel, mine = a_parcel(), [True]

    def lose() -> None:
        mine[0] = False

    ports.before_data = lose
    first = asyncio.create_task(ports.deliverer.finish(incoming(parcel, owned=lambda: mine[0])))
    second = asyncio.create_task(ports.deliverer.finish(incoming(parcel)))
    assert await first is Finish.STALE
    assert await second is Finish.ACK
    assert ports.names() == ["settle", "transmit", "delivered"]


@pytest.mark.parametrize("mails", [1, 3])
async def test_a_parcel_ends_when_all_its_outcomes_are_confirmed(ports: Ports, mails: int) -> None:
    confirm = asyncio.get_running_loop().create_future()
    ports.post = lambda _partition, _event: confirm  # type: ignore[method-assign]
    parcel = a_parcel(to=tuple(f"u{n}@x.test" for n in range(mails)))
    finishing = asyncio.create_task(ports.deliverer.finish(incoming(parcel)))
    await asyncio.sleep(0.02)
    assert len(ports.of("transmit")) == mails
    assert not finishing.done()
    confirm.set_result(None)
    assert await finishing is Finish.ACK


async def test_a_parcel_that_came_again_and_again_is_split_and_nothing_of_it_sent(ports: Ports) -> None:
    parcel = a_parcel(to=tuple(f"u{n}@x.test" for n in range(8)))
    message = incoming(parcel, headers=parcel_headers(parcel) | {"x-delivery-count": SUSPECT_AFTER})
    assert await ports.deliverer.finish(message) is Finish.ACK
    assert ports.names() == ["ladder"] * 8
    parts = [part for part, _ in ports.of("ladder")]
    assert [part.deliveries for part in parts] == [(one,) for one in parcel.deliveries]
    assert {part.setbacks[-1].sender for part in parts} == {"here:1"}


async def test_a_suspect_mail_is_settled_and_has_a_successor_before_it_is_sent(ports: Ports) -> None:
    parcel = replace(a_parcel(), returned=SUSPECT_AFTER, settle=True)

    async def release() -> bool:
        ports.happened.append(("acked", None))
        return True

    message = incoming(parcel, headers=parcel_headers(parcel) | {"x-delivery-count": 1}, release=release)
    assert await ports.deliverer.finish(message) is Finish.RELEASED
    assert ports.names() == ["settle", "ladder", "acked", "transmit", "delivered"]
    assert ports.of("settle") == [SUSPECT_AFTER + 1]


async def test_a_deferral_says_what_the_servers_said_and_ends_the_suspicion(ports: Ports) -> None:
    ports.tried = deferred
    parcel = replace(a_parcel(to=("a@x.test", "b@x.test")), returned=2)
    assert await ports.deliverer.finish(incoming(parcel)) is Finish.ACK
    ((again, _),) = ports.of("ladder")
    assert (again.returned, again.begun) == (0, 0)
    assert [one.reason for one in again.setbacks] == ["attempt 1: 451 later (2 mails)"]


async def test_open_parcels_are_bounded_in_bytes(ports: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailwarren.sender.deliver.OPEN_BYTES", 3 * len(encode_parcel(a_parcel())))
    deliverer = Ports().deliverer
    open_now, most, gate = [0], [0], asyncio.Event()

    async def slow(_parcel: Parcel, one: Delivery, _permit: Permit, **_: Any) -> Tried:
        open_now[0] += 1
        most[0] = max(most[0], open_now[0])
        await gate.wait()
        open_now[0] -= 1
        return Tried(one, Kind.DELIVERED, an_attempt())

    deliverer._transmitter.transmit = slow
    tasks = [asyncio.create_task(deliverer.finish(incoming(a_parcel(id=new_id())))) for _ in range(9)]
    await asyncio.sleep(0.02)
    gate.set()
    assert await asyncio.gather(*tasks) == [Finish.ACK] * 9
    assert 1 <= most[0] <= 3


async def test_a_stopping_process_hands_back_what_it_has_not_begun(ports: Ports) -> None:
    stopping = [False]

    def tried(_parcel: Parcel, one: Delivery) -> Tried:
        stopping[0] = True
        return Tried(one, Kind.DELIVERED, an_attempt())

    ports.tried = tried
    to = tuple(f"u{n}@x.test" for n in range(40))
    finish = await ports.deliverer.finish(incoming(a_parcel(to=to), stopping=lambda: stopping[0]))
    assert finish is Finish.REQUEUE
    assert 1 <= len(ports.of("delivered")) < 40
    assert await ports.deliverer.finish(incoming(a_parcel(id=new_id()), stopping=lambda: True)) is Finish.REQUEUE


async def test_a_mail_whose_site_is_slow_waits_outside_of_those_that_are_worked_on(ports: Ports) -> None:
    ports.waits = [True]
    assert await ports.deliverer.finish(incoming(a_parcel())) is Finish.ACK
    assert ports.names() == ["wait", "transmit", "delivered"]
    assert ports.of("wait") == [0]
    assert ports.slots.used == 0


async def test_what_waits_on_the_ladder_for_limits_costs_no_attempt_and_is_settled_when_it_comes_back(
    ports: Ports,
) -> None:
    parcel = a_parcel(to=("a@x.test", "b@x.test"))
    ports.waits = [0.4, 0.4]
    assert await ports.deliverer.finish(incoming(parcel)) is Finish.ACK
    ((again, wait),) = ports.of("ladder")
    assert ports.of("transmit") == []
    assert (again.attempt, again.shaped, again.turn, again.settle) == (parcel.attempt, 1, parcel.turn + 1, True)
    assert (again.wait, again.id != parcel.id, again.deliveries) == (SHAPED_WAIT, True, parcel.deliveries)
    assert again.not_before == pytest.approx(time.time() + wait, abs=0.2)
    assert ports.slots.used == 0


async def test_a_stopping_process_hands_back_what_waits(ports: Ports) -> None:
    stopping = [False]

    async def wait(*_: Any, resume: Callable[[], Any], **__: Any) -> bool:
        stopping[0] = True
        await resume()
        return False

    ports.wait = wait  # type: ignore[method-assign]
    ports.waits = [True]
    finish = await ports.deliverer.finish(incoming(a_parcel(), stopping=lambda: stopping[0]))
    assert finish is Finish.REQUEUE
    assert ports.names() == []
    assert ports.slots.used == 0


async def test_a_mail_that_is_cancelled_while_its_site_is_slow_is_not_sent(ports: Ports) -> None:
    parcel = a_parcel()

    async def wait(*_: Any, still: Callable[[], bool], resume: Callable[[], Any], **__: Any) -> bool:
        ports.canceled.add(parcel.deliveries[0].email_id)
        assert not still()
        await resume()
        return False

    ports.wait = wait  # type: ignore[method-assign]
    ports.waits = [True]
    assert await ports.deliverer.finish(incoming(parcel)) is Finish.ACK
    assert ports.names() == ["canceled"]


async def test_what_waits_is_left_to_the_parcels_new_holder(ports: Ports) -> None:
    mine = [True]

    async def wait(*_: Any, resume: Callable[[], Any], **__: Any) -> bool:
        mine[0] = False
        await resume()
        return False

    ports.wait = wait  # type: ignore[method-assign]
    ports.waits = [True]
    assert await ports.deliverer.finish(incoming(a_parcel(), owned=lambda: mine[0])) is Finish.STALE
    assert (ports.names(), ports.slots.used) == ([], 0)


TWO = ("bob@example.test", "eve@example.test")


def attached(to: Sequence[str] = TWO, **changes: Any) -> Parcel:
    content = a_content(attachments=(Attachment("a.pdf", "application/pdf", "0" * 64, 5),))
    return replace(a_parcel(to=to, content=content), **changes)


async def test_attachments_are_open_while_a_mail_is_under_way(ports: Ports) -> None:
    assert await ports.deliverer.finish(incoming(attached())) is Finish.ACK
    assert ports.names() == ["open", "transmit", "close"] * 2 + ["delivered"] * 2
    assert [names for names, _ in ports.of("open")] == [["a.pdf"]] * 2


async def test_who_waits_for_attachments_is_not_among_those_who_are_worked_on(ports: Ports) -> None:
    ports.files_at_hand = False
    assert await ports.deliverer.finish(incoming(attached())) is Finish.ACK
    assert ports.names() == ["open", "transmit", "close"] * 2 + ["delivered"] * 2
    assert [used for _, used in ports.of("open")] == [1, 0]
    assert ports.slots.used == 0


async def test_attachments_are_not_open_while_the_site_is_slow(ports: Ports) -> None:
    ports.waits = [True]
    assert await ports.deliverer.finish(incoming(attached(TWO[:1]))) is Finish.ACK
    assert ports.names() == ["wait", "open", "transmit", "close", "delivered"]


async def test_mail_waits_for_attachments_without_losing_an_attempt(ports: Ports) -> None:
    ports.blobs_error = BlobsAway("ingest answered 503")
    ports.files_at_hand = False
    parcel = attached()
    assert await ports.deliverer.finish(incoming(parcel)) is Finish.ACK
    assert ports.names() == ["open", "open", "ladder"]
    ((again, wait),) = ports.of("ladder")
    assert (again.attempt, again.wait, again.turn, again.settle) == (1, Wait.ATTACHMENTS, 1, True)
    assert (again.deliveries, again.id != parcel.id) == (parcel.deliveries, True)
    assert again.not_before == pytest.approx(time.time() + wait, abs=2)
    assert ports.slots.used == 0


async def test_a_mail_that_has_its_attachments_goes_though_its_neighbour_waits_for_them(ports: Ports) -> None:
    def once() -> None:
        ports.blobs_error = BlobsAway("away") if len(ports.of("open")) == 1 else None

    ports.before_files = once
    parcel = attached()
    assert await ports.deliverer.finish(incoming(parcel)) is Finish.ACK
    assert ports.of("transmit") == ["eve@example.test"]
    ((again, _),) = ports.of("ladder")
    assert again.deliveries == parcel.deliveries[:1]


async def test_waiting_for_attachments_ends_no_suspicion(ports: Ports) -> None:
    ports.blobs_error = BlobsAway("away")
    parcel = attached(TWO[:1])
    headers = parcel_headers(parcel) | {"x-delivery-count": SUSPECT_AFTER - 1}
    assert await ports.deliverer.finish(incoming(parcel, headers=headers)) is Finish.ACK
    ((again, _),) = ports.of("ladder")
    assert again.returned == SUSPECT_AFTER - 1


async def test_a_suspect_mail_has_its_attachments_before_its_successor_is_on_the_ladder(ports: Ports) -> None:
    async def release() -> bool:
        ports.happened.append(("acked", None))
        return True

    parcel = attached(TWO[:1], returned=SUSPECT_AFTER, settle=True)
    assert await ports.deliverer.finish(incoming(parcel, release=release)) is Finish.RELEASED
    assert ports.names() == ["settle", "open", "ladder", "acked", "transmit", "close", "delivered"]


async def test_a_suspect_mail_without_its_attachments_is_not_begun(ports: Ports) -> None:
    ports.blobs_error = BlobsAway("away")
    parcel = attached(TWO[:1], returned=SUSPECT_AFTER, settle=True)
    assert await ports.deliverer.finish(incoming(parcel)) is Finish.ACK
    ((again, _),) = ports.of("ladder")
    assert (again.begun, again.returned, again.wait) == (0, SUSPECT_AFTER, Wait.ATTACHMENTS)


async def test_a_stopping_process_hands_back_what_has_waited_for_attachments(ports: Ports) -> None:
    stopping: list[bool] = []
    ports.files_at_hand = False
    ports.before_files = lambda: stopping.append(True)
    finish = await ports.deliverer.finish(incoming(attached(), stopping=lambda: bool(stopping)))
    assert (finish, ports.of("transmit"), ports.slots.used) == (Finish.REQUEUE, [], 0)


async def test_what_is_settled_already_is_not_sent_back_with_the_rest(ports: Ports) -> None:
    ports.blobs_error = BlobsAway("away")
    ports.settled = lambda _, deliveries: Settled(deliveries[:1])
    await ports.deliverer.finish(incoming(attached(), redelivered=True))
    ((again, _),) = ports.of("ladder")
    assert [one.to for one in again.deliveries] == ["bob@example.test"]


async def test_mail_whose_time_runs_out_while_it_waits_for_attachments_says_so(ports: Ports) -> None:
    ports.blobs_error = BlobsAway("ingest answered 503")
    parcel = attached(expires_at=time.time() + 0.1)
    assert await ports.deliverer.finish(incoming(parcel)) is Finish.ACK
    assert ports.names() == ["open", "open", "expired", "expired"]
    assert "could not be fetched in time: ingest answered 503" in str(ports.of("expired")[0].reason)


async def test_mail_whose_attachment_is_gone_fails_and_says_so(ports: Ports) -> None:
    ports.blobs_error = BlobMissing("the attachment 'a.pdf' was deleted")
    assert await ports.deliverer.finish(incoming(attached())) is Finish.ACK
    assert ports.names() == ["open", "open", "failed", "failed"]
    assert ports.of("failed")[0].reason == "the attachment 'a.pdf' was deleted"


async def test_a_lost_connection_while_attachments_were_asked_for_puts_nothing_back(ports: Ports) -> None:
    mine = [True]
    ports.blobs_error = BlobsAway("away")
    ports.before_files = lambda: mine.__setitem__(0, False)
    finish = await ports.deliverer.finish(incoming(attached(TWO[:1]), owned=lambda: mine[0]))
    assert (finish, ports.names()) == (Finish.STALE, ["open"])


def to_sign(**changes: Any) -> Parcel:
    return replace(a_parcel(to=TWO, content=a_content(signing="sender.test")), **changes)


async def test_mail_goes_out_with_what_signs_it_and_other_mail_asks_nobody(ports: Ports) -> None:
    assert await ports.deliverer.finish(incoming(to_sign())) is Finish.ACK
    assert ports.of("keys") == [(TENANT, "sender.test")]
    assert await ports.deliverer.finish(incoming(a_parcel())) is Finish.ACK
    assert ports.of("keys") == [(TENANT, "sender.test")]
    assert ports.signed_by == ["signing", "signing", None]


async def test_mail_waits_for_keys_without_losing_an_attempt(ports: Ports) -> None:
    ports.keys_error = KeysAway("ingest answered 503")
    parcel = to_sign(attempt=2, settle=True)
    assert await ports.deliverer.finish(incoming(parcel)) is Finish.ACK
    assert ports.names() == ["settle", "keys", "ladder"]
    ((again, wait),) = ports.of("ladder")
    assert (again.attempt, again.wait, again.turn, again.settle) == (2, Wait.KEYS, 1, True)
    assert again.deliveries == parcel.deliveries
    assert again.not_before == pytest.approx(time.time() + wait, abs=2)
    assert ports.slots.used == 0
    assert parcel_headers(again)["mw-version"] == VERSION


async def test_a_parcel_of_which_nothing_is_left_asks_for_no_keys(ports: Ports) -> None:
    ports.keys_error = KeysAway("away")
    ports.settled = lambda *_: Settled([])
    assert await ports.deliverer.finish(incoming(to_sign(attempt=2))) is Finish.ACK
    assert ports.names() == ["settle"]


async def test_mail_that_is_canceled_while_it_waits_for_keys_waits_no_longer(ports: Ports) -> None:
    ports.keys_error = KeysAway("ingest answered 503")
    parcel = to_sign()
    first, second = parcel.deliveries
    ports.canceled = {first.email_id}
    assert await ports.deliverer.finish(incoming(parcel)) is Finish.ACK
    assert ports.names() == ["keys", "canceled", "ladder"]
    assert ports.of("ladder")[0][0].deliveries == (second,)
    ports.canceled.add(second.email_id)
    assert await ports.deliverer.finish(incoming(replace(parcel, id=uuid4(), deliveries=(second,)))) is Finish.ACK
    assert ports.names()[3:] == ["keys", "canceled"]


async def test_mail_whose_time_runs_out_while_it_waits_for_keys_says_so(ports: Ports) -> None:
    ports.keys_error = KeysAway("ingest answered 503")
    assert await ports.deliverer.finish(incoming(to_sign(expires_at=time.time() + 0.1))) is Finish.ACK
    assert ports.names() == ["keys", "expired", "expired"]
    reason = "the DKIM keys of sender.test could not be had in time: ingest answered 503"
    assert ports.of("expired")[0].reason == reason


async def test_waiting_for_keys_ends_no_suspicion_and_begins_no_mail(ports: Ports) -> None:
    ports.keys_error = KeysAway("away")
    parcel = replace(to_sign(), deliveries=to_sign().deliveries[:1], returned=SUSPECT_AFTER, settle=True)
    assert await ports.deliverer.finish(incoming(parcel)) is Finish.ACK
    ((again, _),) = ports.of("ladder")
    assert (again.begun, again.returned, again.wait) == (0, SUSPECT_AFTER, Wait.KEYS)


async def test_a_lost_connection_while_keys_were_asked_for_puts_nothing_back(ports: Ports) -> None:
    ports.keys_error = KeysAway("away")
    finish = await ports.deliverer.finish(incoming(to_sign(), owned=lambda: not ports.of("keys")))
    assert (finish, ports.names()) == (Finish.STALE, ["keys"])


async def test_a_deferral_keeps_the_signature_that_was_made(ports: Ports) -> None:
    ports.tried = lambda parcel, one: Tried(replace(one, signature="mw1:1:AA=="), Kind.DEFERRED, an_attempt(1))
    assert await ports.deliverer.finish(incoming(to_sign())) is Finish.ACK
    ((again, _),) = ports.of("ladder")
    assert [one.signature for one in again.deliveries] == ["mw1:1:AA=="] * 2
