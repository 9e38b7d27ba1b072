"""``/v1/broadcasts``: write, send, pause, resume, cancel and copy broadcasts; :mod:`.broadcast_looks` reads them."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import structlog

from mailwarren.contracts.lanes import Lane
from mailwarren.ingest.adapters.broadcasts import ResentAlready, draft_of
from mailwarren.ingest.adapters.expansions import order_of
from mailwarren.ingest.api.answers.broadcasts import (
    BroadcastDeleted,
    BroadcastNamed,
    BroadcastPreview,
    BroadcastTested,
)
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.api.sending import encoded, published
from mailwarren.ingest.api.templates import COPY, optional
from mailwarren.ingest.domain.broadcast_mail import BroadcastMail, email_to, nobody, prepare, preview, read_mail
from mailwarren.ingest.domain.broadcasts import (
    MAX_NAME,
    RESENDABLE,
    BroadcastBody,
    BroadcastChange,
    BroadcastResend,
    BroadcastSample,
    BroadcastSend,
    BroadcastTest,
    Draft,
    check_change,
    check_named,
    check_new,
    check_tests,
    not_possible,
)
from mailwarren.ingest.domain.contacts import Recipient, address_of, parse_contact
from mailwarren.ingest.domain.cursor import parse_id
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.properties import with_fallbacks
from mailwarren.ingest.domain.refusal import Refusal, invalid, not_found
from mailwarren.ingest.domain.times import parse_scheduled_at
from mailwarren.ingest.submit import Acceptance, Answered, CallForm, Submission
from mailwarren.runtime.amqp import PublishError
from mailwarren.store.states import BroadcastState

log = structlog.get_logger()

ON_THE_WAY = (BroadcastState.SCHEDULED, BroadcastState.QUEUED, BroadcastState.SENDING)
WAITING = (BroadcastState.PAUSED, BroadcastState.HELD, BroadcastState.FAILED)
UNSENT = (BroadcastState.DRAFT, BroadcastState.SCHEDULED, BroadcastState.HELD)


async def create(call: Call) -> Answer:
    """``POST /v1/broadcasts``, which may send it too."""
    body = decode(call.body, BroadcastBody)
    draft = check_new(body)
    await _check_lists(call, draft)
    if body.send:
        call.services.pauses.check(call.key.tenant, draft.lane)
    mail = await _prepared(call, draft) if body.send else None
    due = _due(body.scheduled_at)
    ident = await call.services.broadcasts.create(call.key.tenant, draft, mail, due)
    if mail is not None:
        await _on_its_way(call, ident, due)
    return answer(BroadcastNamed(id=ident), 201)


async def update(call: Call) -> Answer:
    """``PATCH /v1/broadcasts/{id}``: of a draft."""
    ident = parse_id(call.path["id"])
    change = decode(call.body, BroadcastChange)
    check_named(change.broadcast_id, ident)
    row = await found(call)
    _check_state(row, "changed", (BroadcastState.DRAFT,))
    draft = check_change(draft_of(row), change)
    await _check_lists(call, draft)
    if not await call.services.broadcasts.update(call.key.tenant, row, draft):
        raise _changed_meanwhile()
    return answer(BroadcastNamed(id=ident))


async def send(call: Call) -> Answer:
    """``POST /v1/broadcasts/{id}/send``: now, or at a time."""
    ident = parse_id(call.path["id"])
    body = optional(call.body, BroadcastSend)
    check_named(body.broadcast_id, ident)
    row = await found(call)
    _check_state(row, "sent", (BroadcastState.DRAFT,))
    draft = draft_of(row)
    await _check_lists(call, draft)
    call.services.pauses.check(call.key.tenant, draft.lane)
    mail, due = await _prepared(call, draft), _due(body.scheduled_at)
    if not await call.services.broadcasts.send(call.key.tenant, row, mail, due):
        raise _changed_meanwhile()
    await _on_its_way(call, ident, due)
    return answer(BroadcastNamed(id=ident))


async def pause(call: Call) -> Answer:
    """``POST /v1/broadcasts/{id}/pause``."""
    row = await found(call)
    if not await call.services.broadcasts.pause(call.key.tenant, row["id"]):
        raise _not_possible(await found(call), "paused", ON_THE_WAY)
    log.info("ingest.broadcast.paused", **_who(call, row["id"]))
    return answer(BroadcastNamed(id=row["id"]))


async def resume(call: Call) -> Answer:
    """``POST /v1/broadcasts/{id}/resume``: one that is paused, held, or was given up."""
    row = await found(call)
    if not await call.services.broadcasts.resume(call.key.tenant, row["id"]):
        raise _not_possible(await found(call), "resumed", WAITING)
    log.info("ingest.broadcast.resumed", **_who(call, row["id"]))
    return answer(BroadcastNamed(id=row["id"]))


async def cancel(call: Call) -> Answer:
    """``POST /v1/broadcasts/{id}/cancel``: nothing more is published, and what waits in the broker is not sent."""
    row = await found(call)
    tenant, ident = call.key.tenant, row["id"]
    wanted: tuple[BroadcastState, ...] = (*ON_THE_WAY, *WAITING)
    if row["state"] == BroadcastState.SENT:
        if not await call.services.broadcasts.is_open(tenant, row):
            raise invalid("This broadcast cannot be canceled any more: every delivery of it has ended.")
        wanted = (*wanted, BroadcastState.SENT)
    begun = await call.services.broadcasts.cancel(tenant, ident, wanted)
    if begun is None:
        raise _not_possible(await found(call), "canceled", wanted)
    if begun:
        # The scheduler tells them when this cannot.
        with contextlib.suppress(PublishError):
            await call.services.broker.publish_broadcast_cancel(ident, tenant)
            await call.services.broadcasts.told(ident)
    log.info("ingest.broadcast.canceled", **_who(call, row["id"]))
    return answer(BroadcastNamed(id=ident))


async def delete(call: Call) -> Answer:
    """``DELETE /v1/broadcasts/{id}``: one of which nothing was sent."""
    row = await found(call)
    if not await call.services.broadcasts.delete(call.key.tenant, row["id"]):
        raise _not_possible(await found(call), "deleted", UNSENT)
    return answer(BroadcastDeleted(id=row["id"]))


async def duplicate(call: Call) -> Answer:
    """``POST /v1/broadcasts/{id}/duplicate``: a draft with the same content."""
    draft = draft_of(await found(call))
    draft = msgspec.structs.replace(draft, name=draft.name[: MAX_NAME - len(COPY)] + COPY)
    return answer(BroadcastNamed(id=await call.services.broadcasts.create(call.key.tenant, draft)), 201)


async def resend(call: Call) -> Answer:
    """``POST /v1/broadcasts/{id}/resend``: the same content to those whose mail failed, as a broadcast of its own."""
    body = optional(call.body, BroadcastResend)
    row = await found(call)
    _check_state(row, "resent", (BroadcastState.SENT,))
    broadcasts, tenant = call.services.broadcasts, call.key.tenant
    if await broadcasts.is_open(tenant, row):
        raise invalid(
            "This broadcast cannot be resent yet: deliveries of it have no end. Wait for them, or cancel it; "
            f"GET /v1/broadcasts/{row['id']}/stats counts them."
        )
    states: Sequence[str] = body.states or RESENDABLE
    draft, mail = draft_of(row), read_mail(row["mail"])
    _check_sender(call, mail)
    try:
        ident = await broadcasts.create(tenant, draft, mail, resend_of=row["id"], resend_states=states)
    except ResentAlready as error:
        other = await broadcasts.resend_of(tenant, row["id"])
        raise invalid(f"This broadcast was resent already, as {other}. Resend that one.") from error
    await _on_its_way(call, ident, None)
    return answer(BroadcastNamed(id=ident), 201)


async def show_preview(call: Call) -> Answer:
    """``POST /v1/broadcasts/{id}/preview``."""
    body = optional(call.body, BroadcastSample)
    row = await found(call)
    mail = await _mail_of(call, row)
    who = await _sample(call, body.contact)
    async with call.services.aside:
        shown = await asyncio.to_thread(preview, mail, who)
    return answer(BroadcastPreview(id=row["id"], subject=shown.subject, html=shown.html, text=shown.text))


async def send_test(call: Call) -> Answer:
    """``POST /v1/broadcasts/{id}/test``: the mail to a contact, sent to somebody else, now."""
    body = decode(call.body, BroadcastTest)
    addresses = check_tests(body.to)
    row = await found(call)
    mail = await _mail_of(call, row)
    who, lane, topic = await _sample(call, body.contact), Lane(row["lane"]), draft_of(row).topic
    if body.contact is None:
        who = msgspec.structs.replace(who, address=addresses[0])
    emails = [(index, email_to(mail, who, lane, topic, address)) for index, address in enumerate(addresses)]
    submission = Submission(call.key, CallForm.BATCH, emails, trace=call.trace)

    def sent(acceptance: Acceptance) -> Answered:
        return encoded(BroadcastTested(id=row["id"], emails=[one.id for one in acceptance.accepted]), 200)

    answered = await call.services.submit.submit(submission, sent)
    return Answer(answered.status, answered.body)


async def found(call: Call) -> Any:
    """The row of the broadcast that the path names.

    Raises:
        Refusal: 404, 422.
    """
    ident = parse_id(call.path["id"])
    row = await call.services.broadcasts.find(call.key.tenant, ident)
    if row is None:
        raise not_found(f"There is no broadcast with the id {ident}.")
    return row


async def _mail_of(call: Call, row: Any) -> BroadcastMail:
    """What was sent, or would be."""
    return read_mail(row["mail"]) if row["mail"] else await _prepared(call, draft_of(row))


async def _prepared(call: Call, draft: Draft) -> BroadcastMail:
    version = await published(call, draft.template) if draft.template else None
    declared = await call.services.lists.properties.declared(call.key.tenant)
    # Templates are compiled here, which may take a tenth of a second for each text.
    async with call.services.aside:
        made = call.services.unsubscribe.made
        mail = await asyncio.to_thread(partial(prepare, draft, version, declared, links=made))
    _check_sender(call, mail)
    return mail


def _check_sender(call: Call, mail: BroadcastMail) -> None:
    domains = call.services.domains.sending
    domains.check_loaded()
    call.key.check_sender(mail.sender_domain)
    domains.check_sender(call.key.tenant, mail.sender_domain)


async def _check_lists(call: Call, draft: Draft) -> None:
    lists, tenant = call.services.lists, call.key.tenant
    if await lists.segments.missing(tenant, [draft.segment]):
        raise invalid(f"Invalid `segment_id` field: there is no segment with the id {draft.segment}.")
    if draft.topic and await lists.topics.missing(tenant, [draft.topic]):
        raise invalid(f"Invalid `topic_id` field: there is no topic with the id {draft.topic}.")


async def _sample(call: Call, text: str | None) -> Recipient:
    declared = await call.services.lists.properties.declared(call.key.tenant)
    if text is None:
        return nobody(declared)
    contact = await call.services.lists.contacts.find(call.key.tenant, parse_contact(text))
    if contact is None:
        raise invalid(f"Invalid `contact` field: there is no contact {text[:100]}.")
    return Recipient(
        id=UUID(str(contact.id)),
        address=address_of(contact.email, contact.email_key),
        first_name=contact.first_name,
        last_name=contact.last_name,
        properties=with_fallbacks(contact.properties, declared),
    )


async def _on_its_way(call: Call, ident: UUID, due: datetime | None) -> None:
    log.info("ingest.broadcast.sent", scheduled=due is not None, **_who(call, ident))
    if due is None:
        # The scheduler orders it when this cannot.
        with contextlib.suppress(PublishError):
            await call.services.broker.publish_order(order_of(ident, 1, datetime.now(UTC).timestamp()))


def _due(said: str | None) -> datetime | None:
    return None if said is None else parse_scheduled_at(said, datetime.now(UTC))


def _check_state(row: Any, what: str, wanted: tuple[BroadcastState, ...]) -> None:
    if row["state"] not in wanted:
        raise _not_possible(row, what, wanted)


def _not_possible(row: Any, what: str, wanted: tuple[BroadcastState, ...]) -> Refusal:
    return not_possible(BroadcastState(row["state"]), what, wanted)


def _changed_meanwhile() -> Refusal:
    return invalid("Somebody else changed or sent this broadcast meanwhile. Nothing was done; read it and try again.")


def _who(call: Call, ident: UUID) -> dict[str, str]:
    return {"broadcast": str(ident), "tenant": str(call.key.tenant), "by": str(call.key.id)}
